/* y (places_y, places_x, channels, kernel_y, kernel_x): what a kernel sees of x (channels, height, width) at each of its
   places; `outside` where it stands out. */
NAME_KERNEL NAME_TARGET void NAME_patches_f32_LEVEL(float *restrict y, const float *restrict x, float outside,
                                                    int channels, int height, int width, int places_y, int places_x,
                                                    int kernel_y, int kernel_x, int stride_y, int stride_x, int top,
                                                    int left, int dilation_y, int dilation_x)
{
    const int taps = kernel_y * kernel_x, plane = height * width;
    int py, px, channel, ky, kx;
    for (py = 0; py < places_y; py++) {
        for (px = 0; px < places_x; px++) {
            for (ky = 0; ky < kernel_y; ky++) {
                const int row = py * stride_y + ky * dilation_y - top;
                for (kx = 0; kx < kernel_x; kx++) {
                    const int column = px * stride_x + kx * dilation_x - left;
                    if (row >= 0 && row < height && column >= 0 && column < width) {
                        const float *const first = x + row * width + column;
                        for (channel = 0; channel < channels; channel++)
                            y[channel * taps] = first[channel * plane];
                    } else {
                        for (channel = 0; channel < channels; channel++)
                            y[channel * taps] = outside;
                    }
                    y++;
                }
            }
            y += taps * (channels - 1);
        }
    }
}
