/* y (places_y, places_x, channels) = round((sums + bias) * scale) + y_zero, in bytes: each sum over a kernel that sees one
   channel of x (height, width, channels), in bytes with a zero point, which also lies beyond it; w: (kernel_y,
   kernel_x, channels). */
NAME_INLINE NAME_TARGET void NAME_add_byte_taps_LEVEL(int32_t *restrict sums, const uint8_t *restrict x, const int8_t *restrict w,
                                    int zero, int count)
{
    int j;
    for (j = 0; j < count; j++)
        sums[j] += (x[j] - zero) * w[j];
}

NAME_KERNEL NAME_TARGET void NAME_depthwise_u8_LEVEL(uint8_t *restrict y, const uint8_t *restrict x, int zero,
                                                     const int8_t *restrict w, const float *restrict scale,
                                                     const int32_t *restrict bias, int y_zero, int channels, int height,
                                                     int width, int places_y, int places_x, int kernel_y, int kernel_x,
                                                     int stride_y, int stride_x, int top, int left, int dilation_y,
                                                     int dilation_x)
{
    int py, px, ky, kx, at;
    for (py = 0; py < places_y; py++) {
        for (px = 0; px < places_x; px++) {
            for (at = 0; at < channels; at += 16) {
                const int count = channels - at < 16 ? channels - at : 16;
                int32_t sums[16];
                memset(sums, 0, sizeof sums);
                for (ky = 0; ky < kernel_y; ky++) {
                    const int row = py * stride_y + ky * dilation_y - top;
                    for (kx = 0; kx < kernel_x && row >= 0 && row < height; kx++) {
                        const int column = px * stride_x + kx * dilation_x - left;
                        const uint8_t *const seen = x + (row * width + column) * channels + at;
                        const int8_t *const taps = w + (ky * kernel_x + kx) * channels + at;
                        if (column < 0 || column >= width)
                            continue;
                        if (count == 16)
                            NAME_add_byte_taps_LEVEL(sums, seen, taps, zero, 16);
                        else
                            NAME_add_byte_taps_LEVEL(sums, seen, taps, zero, count);
                    }
                }
                if (count == 16)
                    NAME_requantise(y + at, sums, scale + at, bias + at, y_zero, 16);
                else
                    NAME_requantise(y + at, sums, scale + at, bias + at, y_zero, count);
            }
            y += channels;
        }
    }
}
