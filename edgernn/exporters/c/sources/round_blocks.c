/* Rounds x to signed bytes, 32 of which share a scale, as onnxruntime does. offsets: -8 times the sum of a block.
   A block below 2^-120 becomes zeros, since its factor would be infinite. */
NAME_KERNEL NAME_TARGET void NAME_round_blocks_LEVEL(int8_t *restrict bytes, float *restrict scales,
                                                     int32_t *restrict offsets, const float *restrict x, int blocks)
{
    int block, j;
    for (block = 0; block < blocks; block++) {
        union { float value; int32_t bits; } largest;
        int32_t sum = 0;
        float factor;
        largest.bits = 0;
        for (j = 0; j < 32; j++) {
            union { float value; int32_t bits; } number;
            number.value = x[j];
            number.bits &= 0x7fffffff;
            largest.bits = number.bits > largest.bits ? number.bits : largest.bits;
        }
        scales[block] = largest.value / 127.0f;
        factor = largest.bits > 0x03800000 ? 127.0f / largest.value : 0.0f;
        for (j = 0; j < 32; j++) {
            bytes[j] = (int8_t)NAME_round(x[j] * factor);
            sum += bytes[j];
        }
        offsets[block] = -8 * sum;
        x += 32;
        bytes += 32;
    }
}
