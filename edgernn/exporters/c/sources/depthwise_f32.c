/* y (places_y, places_x, channels): each channel is the sum over a kernel that sees one channel of x (height, width,
   channels), plus bias; w: (kernel_y, kernel_x, channels), at most 64 taps. beyond: the channels that lie beyond x. */
NAME_KERNEL NAME_TARGET void NAME_depthwise_f32_LEVEL(float *restrict y, const float *restrict x,
                                                      const float *restrict beyond, const float *restrict w,
                                                      const float *restrict bias, int channels, int height, int width,
                                                      int places_y, int places_x, int kernel_y, int kernel_x,
                                                      int stride_y, int stride_x, int top, int left, int dilation_y,
                                                      int dilation_x)
{
    const int taps = kernel_y * kernel_x;
    int py, px, at, tap, j;
    for (py = 0; py < places_y; py++) {
        for (px = 0; px < places_x; px++) {
            const float *seen[64];
            int places[64];
            NAME_places(places, py * stride_y - top, px * stride_x - left, height, width, kernel_y, kernel_x, dilation_y,
                        dilation_x);
            for (tap = 0; tap < taps; tap++)
                seen[tap] = places[tap] < 0 ? beyond : x + places[tap] * channels;
            for (at = 0; at + 16 <= channels; at += 16) {
                float sums[16];
                for (j = 0; j < 16; j++)
                    sums[j] = bias[at + j];
                for (tap = 0; tap < taps; tap++) {
                    for (j = 0; j < 16; j++)
                        sums[j] += seen[tap][at + j] * w[tap * channels + at + j];
                }
                for (j = 0; j < 16; j++)
                    y[at + j] = sums[j];
            }
            for (; at < channels; at++) {
                float sum = bias[at];
                for (tap = 0; tap < taps; tap++)
                    sum += seen[tap][at] * w[tap * channels + at];
                y[at] = sum;
            }
            y += channels;
        }
    }
}
