package org.edgernn.text

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer
import java.nio.LongBuffer
import org.json.JSONObject

/**
 * A text from a language model of characters that was exported to ONNX, with ONNX Runtime. The states of the network
 * are explicit: every step takes them and returns the next ones.
 *
 * bundle: returns the content of a file of the bundle, such as `{ assets.open("onnx/$it").readBytes() }`. One thread at
 * a time uses a text.
 */
class OnnxText(private val bundle: (String) -> ByteArray) : AutoCloseable {
    private val manifest = JSONObject(String(bundle("bundle.json")))
    private val states = states(manifest)
    private val ids = vocabulary(JSONObject(String(bundle("tokenizer.json"))))
    private val characters = ids.entries.associate { (character, id) -> id to character }
    private val environment = OrtEnvironment.getEnvironment()
    private val session = OrtSession.SessionOptions().use { options ->
        options.setIntraOpNumThreads(1) // a step is too small to divide
        environment.createSession(bundle(manifest.getJSONObject("graphs").getString("step")), options)
    }
    private var values = emptyMap<String, FloatArray>() // of the states, by the name of the input
    private var logits: FloatArray? = null
    private var sampler = Sampler(0uL)

    init {
        begin(0)
    }

    /** Begins anew, with the random generator at `seed`. topK: 0 for all tokens. */
    fun begin(seed: Long, temperature: Double = 0.8, topK: Int = 40) {
        values = states.associate { it.input to first(it) }
        logits = null
        sampler = Sampler(seed.toULong(), temperature, topK)
    }

    /** Reads a prompt, or more of it. Throws for a character that the vocabulary lacks, and then reads nothing. */
    fun read(prompt: String) {
        val tokens = prompt.codePoints().toArray().map { code ->
            val character = String(Character.toChars(code))
            ids[character] ?: throw EdgeTextException("the vocabulary lacks the character $character")
        }
        tokens.forEach(::step)
    }

    /** Draws `limit` characters and hands each to `take`. Returns whether the text goes on, as `take` does. */
    fun generate(limit: Int, take: (String) -> Boolean): Boolean {
        repeat(limit) {
            val token = sampler.draw(logits ?: throw EdgeTextException("read a prompt first"), ids["<unk>"])
            step(token)
            if (!take(characters.getValue(token))) return false
        }
        return true
    }

    override fun close() = session.close()

    private fun step(token: Int) {
        val inputs = HashMap<String, OnnxTensor>()
        try {
            val id = LongBuffer.wrap(longArrayOf(token.toLong()))
            inputs["token"] = OnnxTensor.createTensor(environment, id, longArrayOf(1))
            for (state in states) {
                val value = FloatBuffer.wrap(values.getValue(state.input))
                inputs[state.input] = OnnxTensor.createTensor(environment, value, state.shape)
            }
            session.run(inputs).use { outputs ->
                values = states.associate { it.input to outputs.floats(it.output) }
                logits = outputs.floats("logits")
            }
        } finally {
            inputs.values.forEach(OnnxTensor::close)
        }
    }

    /** The first value of a state: zeros, or a file of the bundle for one stream. */
    private fun first(state: State): FloatArray {
        val size = state.shape.fold(1L, Long::times).toInt()
        return if (state.file == null) FloatArray(size) else floats(bundle(state.file), size)
    }

    private class State(val input: String, val output: String, val shape: LongArray, val file: String?)

    private companion object {
        fun states(manifest: JSONObject): List<State> {
            val step = manifest.getJSONObject("contract").getJSONArray("graphs").getJSONObject(0)
            val states = step.getJSONArray("states")
            return List(states.length()) { place ->
                val state = states.getJSONObject(place)
                val axes = state.getJSONArray("axes")
                val shape = LongArray(axes.length()) { if (axes.get(it) == "batch") 1 else axes.getLong(it) }
                val file = state.optJSONObject("initial")?.getString("file")
                State(state.getString("input"), state.getString("output"), shape, file)
            }
        }

        fun vocabulary(tokenizer: JSONObject): Map<String, Int> {
            val ids = tokenizer.getJSONObject("model").getJSONObject("vocab")
            return ids.keys().asSequence().associateWith { ids.getInt(it) }
        }

        /** The last `size` numbers of a .npy file in single precision. */
        fun floats(npy: ByteArray, size: Int): FloatArray {
            val data = ByteBuffer.wrap(npy).order(ByteOrder.LITTLE_ENDIAN).position(npy.size - 4 * size) as ByteBuffer
            return FloatArray(size).also { data.slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(it) }
        }

        fun OrtSession.Result.floats(name: String): FloatArray {
            val buffer = (get(name).get() as OnnxTensor).floatBuffer
            return FloatArray(buffer.remaining()).also { buffer.get(it) }
        }
    }
}
