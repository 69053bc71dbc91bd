/* y (places_y, places_x, channels) = round((sums + bias) * scale) + zero, in bytes: each sum over a kernel that sees one
   channel of x (height, width, channels), in bytes less 128; w: (taps / 4, channels, 4), of at most 64 taps, with
   channels up to a multiple of 16, as scale, bias and offset. beyond: the channels that lie beyond x. */
NAME_KERNEL NAME_TARGET void NAME_depthwise_u8_LEVEL(uint8_t *restrict y, const uint8_t *restrict x,
                                                     const uint8_t *restrict beyond, const int8_t *restrict w,
                                                     const float *restrict scale, const int32_t *restrict bias,
                                                     const int32_t *restrict offset, int zero, int channels, int height,
                                                     int width, int places_y, int places_x, int kernel_y, int kernel_x,
                                                     int stride_y, int stride_x, int top, int left, int dilation_y,
                                                     int dilation_x)
{
    const int taps = kernel_y * kernel_x, step = (channels + 15) / 16 * 64;
    int py, px, at, tap;
    for (py = 0; py < places_y; py++) {
        for (px = 0; px < places_x; px++) {
            const uint8_t *seen[64];
            int places[64];
            NAME_places(places, py * stride_y - top, px * stride_x - left, height, width, kernel_y, kernel_x, dilation_y,
                        dilation_x);
            for (tap = 0; tap < (taps + 3) / 4 * 4; tap++)
                seen[tap] = tap >= taps || places[tap] < 0 ? beyond : x + places[tap] * channels;
            for (at = 0; at < channels; at += 16) {
                const int count = channels - at < 16 ? channels - at : 16;
                int32_t sums[16];
                NAME_taps_LEVEL(sums, seen, w + 4 * at, offset + at, at, count, taps, step);
                if (count == 16)
                    NAME_requantise(y + at, sums, scale + at, bias + at, zero, 16);
                else
                    NAME_requantise(y + at, sums, scale + at, bias + at, zero, count);
            }
            y += channels;
        }
    }
}
