/* y (rows, outputs) = (x - 128) W * scale + bias. x: (rows, inputs), w, scale, bias and offset as for product_u8. */
NAME_KERNEL NAME_TARGET void NAME_products_u8_LEVEL(float *restrict y, const uint8_t *restrict x,
                                                    const int8_t *restrict w, const float *restrict scale,
                                                    const float *restrict bias, const int32_t *restrict offset, int rows,
                                                    int inputs, int outputs)
{
    int at, row, each;
    for (at = 0; at < outputs; at += 64) {
        const int wide = outputs - at < 64 ? outputs - at : 64;
        for (row = 0; row < rows; row += 4) {
            const int many = rows - row < 4 ? rows - row : 4;
            int32_t sums[256];
            NAME_block_LEVEL(sums, x + row * inputs, w + at * inputs, offset + at, inputs, many, wide);
            for (each = 0; each < many; each++)
                NAME_scale_and_add(y + (row + each) * outputs + at, sums + 64 * each, scale + at, bias + at, wide);
        }
    }
}
