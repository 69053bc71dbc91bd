/* y (outputs, places_y, places_x): each channel is the sum over a kernel that sees one channel of x (channels, height,
   width), plus bias; w: (outputs, kernel_y, kernel_x). multiple: outputs of each channel. */
NAME_KERNEL NAME_TARGET void NAME_depthwise_f32_LEVEL(float *restrict y, const float *restrict x,
                                                      const float *restrict w, const float *restrict bias, int outputs,
                                                      int multiple, int height, int width, int places_y, int places_x,
                                                      int kernel_y, int kernel_x, int stride_y, int stride_x, int top,
                                                      int left, int dilation_y, int dilation_x)
{
    int output, py, px, ky, kx;
    for (output = 0; output < outputs; output++) {
        const float *const plane = x + output / multiple * height * width;
        for (py = 0; py < places_y; py++) {
            for (px = 0; px < places_x; px++) {
                float sum = bias[output];
                for (ky = 0; ky < kernel_y; ky++) {
                    const int row = py * stride_y + ky * dilation_y - top;
                    for (kx = 0; kx < kernel_x; kx++) {
                        const int column = px * stride_x + kx * dilation_x - left;
                        if (row >= 0 && row < height && column >= 0 && column < width)
                            sum += plane[row * width + column] * w[ky * kernel_x + kx];
                    }
                }
                *y++ = sum;
            }
        }
        w += kernel_y * kernel_x;
    }
}
