/* y (rows, outputs) = x W + bias, with w and bias as for product_f16. x_step: the elements from one row of x to the next.
   panel: memory for (inputs, 32). */
NAME_KERNEL NAME_TARGET void NAME_products_f16_LEVEL(float *restrict y, const float *restrict x,
                                                     const uint16_t *restrict w, const float *restrict bias,
                                                     float *restrict panel, int rows, int x_step, int inputs,
                                                     int outputs)
{
    int at, j;
    for (at = 0; at < outputs; at += 32) {
        for (j = 0; j < inputs; j++)
            NAME_widen_LEVEL(panel + 32 * j, w + at * inputs + 32 * j);
        NAME_panel_LEVEL(y + at, x, panel, bias + at, rows, x_step, inputs, outputs,
                         outputs - at < 32 ? outputs - at : 32);
    }
}
