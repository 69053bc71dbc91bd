/* The kernels as functions that other files and languages can call. */
void product_f32(int level, float *y, const float *x, const float *w, const float *bias, int inputs, int outputs)
{
    NAME_AT(level, NAME_product_f32, y, x, w, bias, inputs, outputs);
}

void product_u8(int level, float *y, const uint8_t *x, const int8_t *w, const float *scale, const float *bias,
                const int32_t *offset, int inputs, int outputs)
{
    NAME_AT(level, NAME_product_u8, y, x, w, scale, bias, offset, inputs, outputs);
}

void product_u4(int level, float *y, const int8_t *bytes, const float *scales, const int32_t *offsets,
                const uint8_t *w, const float *factors, const float *bias, int blocks, int outputs)
{
    NAME_AT(level, NAME_product_u4, y, bytes, scales, offsets, w, factors, bias, blocks, outputs);
}

void round_blocks(int level, int8_t *bytes, float *scales, int32_t *offsets, const float *x, int blocks)
{
    NAME_AT(level, NAME_round_blocks, bytes, scales, offsets, x, blocks);
}

void row_u4(int level, float *y, const uint8_t *halves, const float *factors, int count)
{
    NAME_AT(level, NAME_row_u4, y, halves, factors, count);
}

void loop(int level, float *tanhs, float *sigmoids, int32_t *rounded, uint8_t *bytes, const float *x, float step,
          int count)
{
    NAME_AT(level, NAME_loop, tanhs, sigmoids, rounded, bytes, x, step, count);
}
