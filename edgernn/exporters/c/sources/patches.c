/* y (places_y, places_x, row): what a kernel sees of x (height, width, size) at each of its places: bytes (kernel_y,
   kernel_x, size), followed by others up to `row`. outside: the byte that lies beyond x and fills up rows. */
NAME_KERNEL NAME_TARGET void NAME_patches_LEVEL(void *restrict y, const void *restrict x, int outside, int size, int row,
                                                int height, int width, int places_y, int places_x, int kernel_y,
                                                int kernel_x, int stride_y, int stride_x, int top, int left,
                                                int dilation_y, int dilation_x)
{
    const uint8_t *const from = (const uint8_t *)x;
    const int together = dilation_x == 1 ? kernel_x : 1; /* columns that follow each other in memory */
    const int rest = row - kernel_y * kernel_x * size;
    uint8_t *to = (uint8_t *)y;
    int py, px, ky, kx;
    for (py = 0; py < places_y; py++) {
        for (px = 0; px < places_x; px++) {
            for (ky = 0; ky < kernel_y; ky++) {
                const int line = py * stride_y + ky * dilation_y - top;
                for (kx = 0; kx < kernel_x; kx += together) {
                    const int begin = px * stride_x + kx * dilation_x - left;
                    const int first = begin > 0 ? begin : 0;
                    const int last = begin + together < width ? begin + together : width;
                    const int seen = line >= 0 && line < height && first < last;
                    if (!seen || last - first < together)
                        memset(to, outside, (size_t)(together * size));
                    if (seen)
                        memcpy(to + (first - begin) * size, from + (line * width + first) * size,
                               (size_t)((last - first) * size));
                    to += together * size;
                }
            }
            memset(to, outside, (size_t)rest);
            to += rest;
        }
    }
}
