package org.edgernn.text

import kotlin.math.exp

/**
 * Draws tokens from logits as edgernn does: by temperature and top-k, with the random generator SplitMix64.
 *
 * generator: the seed at first. It is the only state, which a snapshot of a text needs beside those of the network.
 */
class Sampler(var generator: ULong, private val temperature: Double = 0.8, private val topK: Int = 40) {
    /** Returns the token that is drawn from `logits`, of which the token `never` is not drawn. */
    fun draw(logits: FloatArray, never: Int?): Int {
        val scores = DoubleArray(logits.size) { if (it == never) Double.NEGATIVE_INFINITY else logits[it].toDouble() }
        val highest = scores.max()
        if (temperature == 0.0) return scores.indexOfFirst { it == highest }
        val lowest = if (topK in 1 until scores.size) scores.sorted()[scores.size - topK] else Double.NEGATIVE_INFINITY
        var sum = 0.0
        val sums = DoubleArray(scores.size) {
            if (scores[it] >= lowest) sum += exp((scores[it] - highest) / temperature)
            sum
        }
        val drawn = uniform() * sum
        return sums.indexOfFirst { it > drawn }
    }

    private fun uniform(): Double {
        generator += 0x9E3779B97F4A7C15uL
        var z = generator
        z = (z xor (z shr 30)) * 0xBF58476D1CE4E5B9uL // shr of a ULong is logical
        z = (z xor (z shr 27)) * 0x94D049BB133111EBuL
        return ((z xor (z shr 31)) shr 11).toDouble() / (1L shl 53).toDouble()
    }
}
