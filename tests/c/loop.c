/* Element-wise functions as generated source calls them. */
NAME_KERNEL NAME_TARGET void NAME_loop_LEVEL(float *restrict tanhs, float *restrict sigmoids, int32_t *restrict rounded,
                                             uint8_t *restrict bytes, const float *restrict x, float step, int count)
{
    int i;
    for (i = 0; i < count; i++) {
        tanhs[i] = NAME_tanh(x[i]);
        sigmoids[i] = NAME_sigmoid(x[i]);
        rounded[i] = NAME_round(NAME_clamp(x[i], 0x43000000));
        bytes[i] = NAME_quantise(x[i], step);
    }
}
