package org.edgernn.text

import java.nio.ByteBuffer

/** What the network or its sampler refused. */
class EdgeTextException(message: String) : Exception(message)

/**
 * A text from a language model that was exported to C. Its state is explicit: [snapshot] returns it, and [restore]
 * continues from it.
 *
 * weights: the content of model.bin in a direct buffer, such as a file that was mapped into memory; null if the weights
 * are in model.c. One thread at a time calls the functions of a text; the others wait.
 */
class EdgeText(private val weights: ByteBuffer? = null) : AutoCloseable {
    private var text = NativeText.open(weights)

    init {
        if (text == 0L) throw EdgeTextException("there is no memory, or the weights are those of another network")
    }

    /** Begins anew, with the random generator at `seed`. */
    @Synchronized
    fun begin(seed: Long) = NativeText.begin(open(), seed)

    /**
     * Sets how the next tokens are drawn.
     *
     * temperature: at least 0.001, or 0 for the likeliest token. topK: how many of the likeliest tokens are drawn
     * from; 0 for all.
     */
    @Synchronized
    fun sample(temperature: Double, topK: Int) {
        if (NativeText.sample(open(), temperature, topK) != 0) {
            throw EdgeTextException("impossible settings: temperature $temperature, top-k $topK")
        }
    }

    /** Reads a prompt, or more of it. Reads nothing of a text with a character that the vocabulary lacks. */
    @Synchronized
    fun read(prompt: String) {
        val result = NativeText.read(open(), prompt.toByteArray())
        if (result == Int.MIN_VALUE) throw EdgeTextException("there is no memory to read the prompt")
        if (result < 0) throw EdgeTextException("the vocabulary lacks the character at byte ${-1 - result}")
    }

    /**
     * Draws up to `limit` tokens, or without end if it is negative, and hands the text that they complete to `take`,
     * which returns whether the text goes on, and calls no function of this text.
     *
     * Returns whether the text goes on: not after the end that the network predicted, nor where `take` stopped it.
     */
    @Synchronized
    fun generate(limit: Int, take: (String) -> Boolean): Boolean {
        val result = NativeText.generate(open(), limit) { utf8 -> take(String(utf8, Charsets.UTF_8)) }
        if (result == FAILED) throw EdgeTextException("no token can be drawn: read a prompt first")
        return result == 0
    }

    /** Returns the text as bytes, for the same network in the same build of the app. */
    @Synchronized
    fun snapshot(): ByteArray = NativeText.snapshot(open()) ?: throw EdgeTextException("there is no memory")

    /** Continues from a snapshot. */
    @Synchronized
    fun restore(snapshot: ByteArray) {
        if (NativeText.restore(open(), snapshot) != 0) {
            throw EdgeTextException("the snapshot is damaged, or of another network or build of the app")
        }
    }

    @Synchronized
    override fun close() {
        NativeText.close(text)
        text = 0
    }

    private fun open(): Long {
        check(text != 0L) { "the text is closed" }
        return text
    }

    private companion object {
        const val FAILED = -2 // EDGE_TEXT_FAILED of edge_text.h
    }
}
