/* y (outputs, places_y, places_x) = sums * scale + bias: each sum over a kernel that sees one channel of x (channels,
   height, width), in bytes with a zero point, beyond which lies the zero point; w: (outputs, kernel_y, kernel_x).
   multiple: outputs of each channel. */
NAME_KERNEL NAME_TARGET void NAME_depthwise_u8_LEVEL(float *restrict y, const uint8_t *restrict x, uint8_t zero,
                                                     const int8_t *restrict w, const float *restrict scale,
                                                     const float *restrict bias, int outputs, int multiple, int height,
                                                     int width, int places_y, int places_x, int kernel_y, int kernel_x,
                                                     int stride_y, int stride_x, int top, int left, int dilation_y,
                                                     int dilation_x)
{
    int output, py, px, ky, kx;
    for (output = 0; output < outputs; output++) {
        const uint8_t *const plane = x + output / multiple * height * width;
        for (py = 0; py < places_y; py++) {
            for (px = 0; px < places_x; px++) {
                int32_t sum = 0;
                for (ky = 0; ky < kernel_y; ky++) {
                    const int row = py * stride_y + ky * dilation_y - top;
                    for (kx = 0; kx < kernel_x; kx++) {
                        const int column = px * stride_x + kx * dilation_x - left;
                        if (row >= 0 && row < height && column >= 0 && column < width)
                            sum += (plane[row * width + column] - zero) * w[ky * kernel_x + kx];
                    }
                }
                *y++ = (float)sum * scale[output] + bias[output];
            }
        }
        w += kernel_y * kernel_x;
    }
}
