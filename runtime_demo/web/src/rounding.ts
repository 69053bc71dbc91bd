/** The nearest whole number; of two equally near ones, the even one. */
export function rounded(value: number): number {
  const below = Math.floor(value);
  const above = value - below > 0.5 || (value - below === 0.5 && below % 2 !== 0);
  return above ? below + 1 : below;
}
