/* y (channels, places_y, places_x): the mean of what a kernel sees of x (channels, height, width) at each place. whole:
   also count, as zeros, what stands out. */
NAME_KERNEL NAME_TARGET void NAME_mean_pool_LEVEL(float *restrict y, const float *restrict x, int whole, int channels,
                                                  int height, int width, int places_y, int places_x, int kernel_y,
                                                  int kernel_x, int stride_y, int stride_x, int top, int left,
                                                  int dilation_y, int dilation_x)
{
    int channel, py, px, ky, kx;
    for (channel = 0; channel < channels; channel++) {
        for (py = 0; py < places_y; py++) {
            for (px = 0; px < places_x; px++) {
                float sum = 0.0f;
                int count = 0;
                for (ky = 0; ky < kernel_y; ky++) {
                    const int row = py * stride_y + ky * dilation_y - top;
                    for (kx = 0; kx < kernel_x; kx++) {
                        const int column = px * stride_x + kx * dilation_x - left;
                        if (row >= 0 && row < height && column >= 0 && column < width) {
                            sum += x[row * width + column];
                            count++;
                        }
                    }
                }
                *y++ = sum / (float)(whole ? kernel_y * kernel_x : count);
            }
        }
        x += height * width;
    }
}
