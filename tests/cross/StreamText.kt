package org.edgernn.text

/** Streams text through EdgeText.kt: PROMPT SEED TEMPERATURE TOP_K TOKENS. Without arguments: draws from logits. */
fun main(given: Array<String>) = if (given.isEmpty()) draw() else stream(given)

private fun stream(given: Array<String>) = EdgeText().use { text ->
    val limit = given[4].toInt()
    text.begin(given[1].toULong().toLong())
    text.sample(given[2].toDouble(), given[3].toInt())
    text.read(given[0])
    check(text.generate(limit / 2, ::show))
    val snapshot = text.snapshot()
    check(!text.generate(-1) { false })
    refuses { text.read("fox\u0001") }
    refuses { text.sample(-1.0, 0) }
    refuses { text.restore(snapshot.copyOf(9)) }
    EdgeText().use { other ->
        refuses { other.generate(1, ::show) }
        other.restore(snapshot)
        check(other.generate(limit - limit / 2, ::show))
    }
}

private fun show(part: String): Boolean {
    val utf8 = part.toByteArray()
    System.out.write(utf8, 0, utf8.size)
    System.out.flush()
    return true
}

private fun refuses(call: () -> Unit) = check(runCatching(call).exceptionOrNull() is EdgeTextException)

/** Prints the tokens that are drawn. Each line gives a seed, a temperature, top-k, a number of draws, and logits. */
private fun draw() = generateSequence(::readlnOrNull).forEach { line ->
    val words = line.split(" ")
    val sampler = Sampler(words[0].toULong(), words[1].toDouble(), words[2].toInt())
    val logits = FloatArray(words.size - 4) { words[it + 4].toFloat() }
    println((1..words[3].toInt()).joinToString(" ") { sampler.draw(logits, null).toString() })
}
