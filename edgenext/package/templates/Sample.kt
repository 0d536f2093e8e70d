// The most probable classes of an image, on Android with LiteRT:
//
//     implementation("com.google.ai.edge.litert:litert:2.1.0") // in build.gradle.kts
//     ImageClassifier(context).use { it.classify(bitmap) }
//
// Put the .tflite file and labels.txt into the app's assets, and this file into its sources.

import android.content.Context
import android.graphics.Bitmap
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import kotlin.math.abs
import kotlin.math.exp
import kotlin.math.max
import kotlin.math.min

private const val FILE = @@file
private const val SIZE = @@size
private const val SHORT = @@short // of the shorter side before the crop
private const val BICUBIC = @@bicubic // else bilinear
private val MEAN = doubleArrayOf(@@mean)
private val STD = doubleArrayOf(@@std)

data class ClassScore(val index: Int, val name: String, val probability: Double)

class ImageClassifier(context: Context) : AutoCloseable {
    private val names = context.assets.open("labels.txt").bufferedReader().readLines()
    private val model =
        CompiledModel.create(context.assets, FILE, CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    fun classify(bitmap: Bitmap, count: Int = 5): List<ClassScore> {
        val argb = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(argb, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        inputs[0].writeFloat(normalise(fit(argb, bitmap.width, bitmap.height)))
        model.run(inputs, outputs)
        val logits = outputs[0].readFloat()
        val most = logits.max()
        val powers = logits.map { exp((it - most).toDouble()) }
        val sum = powers.sum()
        return powers.indices.sortedByDescending { powers[it] }.take(count)
            .map { ClassScore(it, names.getOrElse(it) { "" }, powers[it] / sum) }
    }

    override fun close() {
        inputs.forEach { it.close() }
        outputs.forEach { it.close() }
        model.close()
    }
}

/** Bytes as size × size × 3 floats, (x / 255 − mean) / std. */
internal fun normalise(bytes: IntArray) = FloatArray(bytes.size) {
    ((bytes[it] - MEAN[it % 3] * 255) / (STD[it % 3] * 255)).toFloat()
}

// The published preprocessing, bit for bit as Pillow computes it.

private const val BITS = 22 // behind the point of Pillow's integer weights

private class Weights(val first: Int, val values: IntArray)

private fun filter(distance: Double): Double {
    val x = abs(distance)
    if (!BICUBIC) return max(0.0, 1 - x)
    val a = -0.5
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1
    return if (x < 2) (((x - 5) * x + 8) * x - 4) * a else 0.0
}

private fun weights(from: Int, to: Int, start: Int): List<Weights> {
    val scale = from.toDouble() / to
    val stretch = max(scale, 1.0)
    val support = (if (BICUBIC) 2 else 1) * stretch
    return List(SIZE) { i ->
        val centre = (start + i + 0.5) * scale
        val first = max((centre - support + 0.5).toInt(), 0)
        val end = min((centre + support + 0.5).toInt(), from)
        val real = (first until end).map { filter((it - centre + 0.5) * (1 / stretch)) }
        val sum = real.sum()
        Weights(first, IntArray(real.size) {
            val whole = real[it] / sum * (1 shl BITS)
            (whole + if (whole < 0) -0.5 else 0.5).toInt()
        })
    }
}

private fun byte(sum: Int) = (sum shr BITS).coerceIn(0, 255)

private fun halfEven(value: Int) = value / 2 + if (value % 2 == 1) (value / 2) % 2 else 0

/** One pass over outer × length × inner values: the middle axis becomes that of the weights. */
private fun pass(source: IntArray, outer: Int, length: Int, inner: Int, taps: List<Weights>) =
    IntArray(outer * taps.size * inner).also { result ->
        var to = 0
        for (o in 0 until outer) for (tap in taps) for (i in 0 until inner) {
            var sum = 1 shl (BITS - 1)
            var at = (o * length + tap.first) * inner + i
            for (weight in tap.values) {
                sum += source[at] * weight
                at += inner
            }
            result[to++] = byte(sum)
        }
    }

/** An image as the network sees it: size × size × 3 bytes, RGB; `argb` is height × width. */
internal fun fit(argb: IntArray, width: Int, height: Int): IntArray {
    val longer = (SHORT.toLong() * max(width, height) / min(width, height).toDouble()).toInt()
    val (wide, high) = if (width <= height) SHORT to longer else longer to SHORT
    val columns = weights(width, wide, halfEven(wide - SIZE))
    val rows = weights(height, high, halfEven(high - SIZE))
    val pixels = IntArray(argb.size * 3) { argb[it / 3] shr (16 - 8 * (it % 3)) and 255 }
    if (height > high && height - high > 2 * (width - wide)) { // Pillow 13; others: rows never first
        return pass(pass(pixels, 1, height, width * 3, rows), SIZE, width, 3, columns)
    }
    val narrow = pass(pixels, height, width, 3, columns)
    return pass(narrow, 1, height, SIZE * 3, rows)
}
