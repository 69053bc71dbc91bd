/* Columns of y (rows, outputs) = x W + bias for one panel of W, (inputs, 32), of which `wide` columns are outputs: each
   weight is read once for 4 rows. */
NAME_INLINE NAME_TARGET void NAME_panel_LEVEL(float *restrict y, const float *restrict x, const float *restrict w,
                                              const float *restrict bias, int rows, int x_step, int inputs, int outputs,
                                              int wide)
{
    int at, row, each, k, j;
    for (at = 0; at < wide; at += NAME_COLUMNS_LEVEL) {
        const int count = wide - at < NAME_COLUMNS_LEVEL ? wide - at : NAME_COLUMNS_LEVEL;
        for (row = 0; row < rows; row += 4) {
            const int many = rows - row < 4 ? rows - row : 4;
            const float *const first = x + row * x_step, *const second = first + (many > 1 ? x_step : 0);
            const float *const third = first + (many > 2 ? 2 * x_step : 0);
            const float *const fourth = first + (many > 3 ? 3 * x_step : 0);
            float a[NAME_COLUMNS_LEVEL], b[NAME_COLUMNS_LEVEL], c[NAME_COLUMNS_LEVEL], d[NAME_COLUMNS_LEVEL];
            const float *const sums[4] = {a, b, c, d};
            for (j = 0; j < NAME_COLUMNS_LEVEL; j++)
                a[j] = b[j] = c[j] = d[j] = 0.0f;
            for (k = 0; k < inputs; k++) {
                const float *const lanes = w + 32 * k + at;
                for (j = 0; j < NAME_COLUMNS_LEVEL; j++) {
                    a[j] += first[k] * lanes[j];
                    b[j] += second[k] * lanes[j];
                    c[j] += third[k] * lanes[j];
                    d[j] += fourth[k] * lanes[j];
                }
            }
            for (each = 0; each < many; each++) {
                for (j = 0; j < count; j++)
                    y[(row + each) * outputs + at + j] = sums[each][j] + bias[at + j];
            }
        }
    }
}
