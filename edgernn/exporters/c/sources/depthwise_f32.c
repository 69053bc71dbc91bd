/* y (places_y, places_x, channels): each channel is the sum over a kernel that sees one channel of x (height, width,
   channels), plus bias; w: (kernel_y, kernel_x, channels). */
NAME_INLINE NAME_TARGET void NAME_add_taps_LEVEL(float *restrict sums, const float *restrict x, const float *restrict w, int count)
{
    int j;
    for (j = 0; j < count; j++)
        sums[j] += x[j] * w[j];
}

NAME_KERNEL NAME_TARGET void NAME_depthwise_f32_LEVEL(float *restrict y, const float *restrict x,
                                                      const float *restrict w, const float *restrict bias, int channels,
                                                      int height, int width, int places_y, int places_x, int kernel_y,
                                                      int kernel_x, int stride_y, int stride_x, int top, int left,
                                                      int dilation_y, int dilation_x)
{
    int py, px, ky, kx, at;
    for (py = 0; py < places_y; py++) {
        for (px = 0; px < places_x; px++) {
            for (at = 0; at < channels; at += 16) {
                const int count = channels - at < 16 ? channels - at : 16;
                float sums[16];
                memcpy(sums, bias + at, (size_t)count * sizeof *sums);
                for (ky = 0; ky < kernel_y; ky++) {
                    const int row = py * stride_y + ky * dilation_y - top;
                    for (kx = 0; kx < kernel_x && row >= 0 && row < height; kx++) {
                        const int column = px * stride_x + kx * dilation_x - left;
                        const float *const seen = x + (row * width + column) * channels + at;
                        const float *const taps = w + (ky * kernel_x + kx) * channels + at;
                        if (column < 0 || column >= width)
                            continue;
                        if (count == 16)
                            NAME_add_taps_LEVEL(sums, seen, taps, 16);
                        else
                            NAME_add_taps_LEVEL(sums, seen, taps, count);
                    }
                }
                memcpy(y + at, sums, (size_t)count * sizeof *sums);
            }
            y += channels;
        }
    }
}
