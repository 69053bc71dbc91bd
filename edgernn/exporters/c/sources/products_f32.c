/* y (rows, outputs) = x W + bias, with w and bias as for product_f32. x_step: the elements from one row of x to the next. */
NAME_KERNEL NAME_TARGET void NAME_products_f32_LEVEL(float *restrict y, const float *restrict x,
                                                     const float *restrict w, const float *restrict bias, int rows,
                                                     int x_step, int inputs, int outputs)
{
    int at;
    for (at = 0; at < outputs; at += 32)
        NAME_panel_LEVEL(y + at, x, w + at * inputs, bias + at, rows, x_step, inputs, outputs,
                         outputs - at < 32 ? outputs - at : 32);
}
