package org.edgernn.text

import android.app.Activity
import android.os.Bundle
import android.view.View
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import java.nio.ByteBuffer
import java.util.concurrent.Executors

/** Streams text with the network in C or with ONNX Runtime. A text in C goes on where it was when the app ended. */
class MainActivity : Activity() {
    private val worker = Executors.newSingleThreadExecutor()
    private val text by lazy { EdgeText(weights()) }
    private val onnx = lazy { OnnxText { assets.open("onnx/$it").use { file -> file.readBytes() } } }
    private lateinit var prompt: EditText
    private lateinit var shown: TextView

    private val written = StringBuilder() // what is shown, or will be at once; guarded by the lock of `text`
    @Volatile private var turn = 0 // the number of the task that may go on

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        prompt = EditText(this).apply { setText(saved?.getString("prompt") ?: "def ") }
        shown = TextView(this).apply { text = saved?.getString("shown") ?: "" }
        saved?.getByteArray("snapshot")?.let { snapshot ->
            try {
                text.restore(snapshot)
            } catch (_: EdgeTextException) { // it was taken by another version of the app
                shown.text = ""
            }
        }
        written.append(shown.text)
        val column = LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            addView(prompt)
            addView(button("Stream with C") { start(::streamC) })
            addView(button("Continue with C") { resume() })
            addView(button("Stream with ONNX Runtime") { start(::streamOnnx) })
            addView(button("Stop") { turn++ })
            addView(shown)
        }
        setContentView(ScrollView(this).apply { addView(column) })
    }

    override fun onStop() {
        turn++
        super.onStop()
    }

    override fun onSaveInstanceState(saved: Bundle) {
        super.onSaveInstanceState(saved)
        turn++
        saved.putString("prompt", prompt.text.toString())
        synchronized(text) { // so that the text and the snapshot are of the same token
            saved.putString("shown", written.toString())
            saved.putByteArray("snapshot", text.snapshot())
        }
    }

    override fun onDestroy() {
        turn++
        worker.execute {
            text.close()
            if (onnx.isInitialized()) onnx.value.close()
        }
        worker.shutdown()
        super.onDestroy()
    }

    private fun button(label: String, pressed: () -> Unit) = Button(this).apply {
        text = label
        setOnClickListener { _: View -> pressed() }
    }

    /** Begins a text after the prompt. */
    private fun start(stream: (String, () -> Boolean) -> Unit) {
        val given = prompt.text.toString()
        shown.text = given
        synchronized(text) { written.clear().append(given) }
        work { going -> stream(given, going) }
    }

    private fun resume() = work { going -> repeatWhile(going) { text.generate(1, ::show) } }

    /** Works in the background. The task asks whether it may go on, which it may until another one begins. */
    private fun work(task: (going: () -> Boolean) -> Unit) {
        val own = ++turn
        worker.execute {
            try {
                task { turn == own }
            } catch (error: EdgeTextException) {
                show("\n${error.message}")
            }
        }
    }

    private fun streamC(given: String, going: () -> Boolean) {
        text.begin(seed = 7)
        text.sample(temperature = 0.8, topK = 40)
        text.read(given)
        repeatWhile(going) { text.generate(1, ::show) }
    }

    private fun streamOnnx(given: String, going: () -> Boolean) {
        onnx.value.begin(seed = 7)
        onnx.value.read(given)
        repeatWhile(going) { onnx.value.generate(1, ::show) }
    }

    /** Draws up to 2000 tokens one by one, so that a snapshot waits for one of them at most. */
    private fun repeatWhile(going: () -> Boolean, draw: () -> Boolean) {
        var left = 2000
        while (left > 0 && going() && draw()) left--
    }

    private fun show(part: String): Boolean {
        synchronized(text) { written.append(part) }
        runOnUiThread { shown.append(part) }
        return true
    }

    /** The content of model.bin, or null if the weights are in model.c. */
    private fun weights(): ByteBuffer? {
        if ("model.bin" !in (assets.list("c") ?: emptyArray())) return null
        val bytes = assets.open("c/model.bin").use { it.readBytes() }
        return ByteBuffer.allocateDirect(bytes.size).put(bytes)
    }
}
