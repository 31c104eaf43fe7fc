//! Decoding the pixels of a scan (T.87, annex A).

use super::bits::Bits;

/// Coding parameters, those of the stream or the defaults.
pub(super) struct Parameters {
    /// `MAXVAL`.
    pub max_value: i32,
    /// `NEAR`: the largest error of a pixel.
    pub near: i32,
    /// `T1`, `T2`, `T3`.
    pub thresholds: [i32; 3],
    /// `RESET`: after how many pixels a context forgets half.
    pub reset: i32,
}

/// Bits of the length of a run (`J`, A.7.1.1).
const RUN_BITS: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];
/// Contexts of gradients: 9 x 9 x 9, of which each has the sign of its mirror image.
const CONTEXTS: usize = 365;
const DAMAGED: &str = "the stream is damaged";

/// Statistics of the pixels met in one context.
#[derive(Clone, Copy)]
struct Context {
    /// `A`: sum of the errors' sizes.
    sizes: i32,
    /// `B`: sum of the errors, for the bias.
    bias: i32,
    /// `C`: correction of the prediction.
    correction: i32,
    /// `N`: pixels.
    count: i32,
}

/// Statistics of the pixels that end a run; `negative` is `Nn`.
#[derive(Clone, Copy)]
struct RunContext {
    sizes: i32,
    count: i32,
    negative: i32,
}

/// The state of a scan.
pub(super) struct Scan<'a> {
    bits: Bits<'a>,
    parameters: Parameters,
    /// `RANGE`: how many values an error can have.
    range: i32,
    /// `qbpp`: bits of an error.
    error_bits: u32,
    /// `LIMIT`: the longest code.
    limit: u32,
    contexts: Vec<Context>,
    run_contexts: [RunContext; 2],
    /// `RUNindex`.
    run_index: usize,
}

impl<'a> Scan<'a> {
    pub fn new(parameters: Parameters, scan: &'a [u8]) -> Self {
        let Parameters { max_value, near, .. } = parameters;
        let range = (max_value + 2 * near) / (2 * near + 1) + 1;
        let bits_of = |values: i32| (values - 1).checked_ilog2().map_or(0, |log| log + 1);
        let pixel_bits = bits_of(max_value + 1).max(2);
        let sizes = ((range + 32) / 64).max(2);
        Self {
            bits: Bits::new(scan),
            parameters,
            range,
            error_bits: bits_of(range),
            limit: 2 * (pixel_bits + pixel_bits.max(8)),
            contexts: vec![Context { sizes, bias: 0, correction: 0, count: 1 }; CONTEXTS],
            run_contexts: [RunContext { sizes, count: 1, negative: 0 }; 2],
            run_index: 0,
        }
    }

    /// All pixels [rows * columns].
    pub fn decode(mut self, rows: usize, columns: usize) -> Result<Vec<u16>, String> {
        let mut out = Vec::with_capacity(rows * columns);
        // With a place before the first and behind the last pixel (A.2.1).
        let mut above = vec![0_i32; columns + 2];
        let mut line = vec![0_i32; columns + 2];
        for _ in 0..rows {
            line[0] = above[1];
            above[columns + 1] = above[columns];
            self.line(&above, &mut line, columns)?;
            out.extend(line[1..=columns].iter().map(|value| *value as u16));
            std::mem::swap(&mut above, &mut line);
        }
        Ok(out)
    }

    fn line(&mut self, above: &[i32], line: &mut [i32], columns: usize) -> Result<(), String> {
        let near = self.parameters.near;
        let mut x = 1;
        while x <= columns {
            let [left, over, corner, right] = [line[x - 1], above[x], above[x - 1], above[x + 1]];
            let gradients = [right - over, over - corner, corner - left];
            if gradients.iter().all(|g| g.abs() <= near) {
                x = self.run(above, line, x, columns)?;
                continue;
            }
            let smaller = left.min(over);
            let larger = left.max(over);
            let prediction = if corner >= larger {
                smaller
            } else if corner <= smaller {
                larger
            } else {
                left + over - corner
            };
            line[x] = self.regular(gradients, prediction)?;
            x += 1;
        }
        Ok(())
    }

    /// A pixel by prediction (A.4 to A.6).
    fn regular(&mut self, gradients: [i32; 3], prediction: i32) -> Result<i32, String> {
        let [q1, q2, q3] = gradients.map(|gradient| self.quantise(gradient));
        let place = 81 * q1 + 9 * q2 + q3;
        let sign = place.signum();
        let place = (place.unsigned_abs() as usize).min(CONTEXTS - 1);
        let Context { sizes, bias, correction, count } = self.contexts[place];
        let near = self.parameters.near;

        let corrected = (prediction + sign * correction).clamp(0, self.parameters.max_value);
        let k = golomb_bits(count, sizes);
        let mapped = self.golomb(k, self.limit)?;
        let error = if near == 0 && k == 0 && 2 * bias <= -count {
            if mapped % 2 == 1 { (mapped - 1) / 2 } else { -(mapped / 2) - 1 }
        } else if mapped % 2 == 0 {
            mapped / 2
        } else {
            -((mapped + 1) / 2)
        };
        self.contexts[place].update(error, near, self.parameters.reset);
        Ok(self.reconstruct(corrected, sign * error))
    }

    /// A run of the pixel to the left and the pixel that ends it (A.7); the next place.
    fn run(
        &mut self,
        above: &[i32],
        line: &mut [i32],
        start: usize,
        columns: usize,
    ) -> Result<usize, String> {
        let value = line[start - 1];
        let end = columns + 1;
        let mut x = start;
        while self.bits.read(1)? == 1 {
            let length = 1 << RUN_BITS[self.run_index];
            let fitting = length.min(end - x);
            x += fitting;
            if fitting == length && self.run_index < 31 {
                self.run_index += 1;
            }
            if x == end {
                break;
            }
        }
        if x < end {
            x += self.bits.read(RUN_BITS[self.run_index])? as usize;
        }
        if x > end {
            return Err(DAMAGED.into());
        }
        line[start..x].fill(value);
        if x == end {
            return Ok(end);
        }
        line[x] = self.run_end(value, above[x])?;
        self.run_index = self.run_index.saturating_sub(1);
        Ok(x + 1)
    }

    /// The pixel behind a run (A.7.2).
    fn run_end(&mut self, left: i32, over: i32) -> Result<i32, String> {
        let is_alike = (left - over).abs() <= self.parameters.near;
        let kind = i32::from(is_alike); // `RItype`
        let RunContext { sizes, count, negative } = self.run_contexts[usize::from(is_alike)];
        let k = golomb_bits(count, if is_alike { sizes + (count >> 1) } else { sizes });
        let mapped = self.golomb(k, self.limit - RUN_BITS[self.run_index] - 1)?;
        let odd = (mapped + kind) % 2;
        let size = (mapped + kind + odd) / 2;
        let is_negative = (k != 0 || 2 * negative >= count) == (odd == 1);
        let error = if is_negative { -size } else { size };

        let reset = self.parameters.reset;
        let context = &mut self.run_contexts[usize::from(is_alike)];
        context.negative += i32::from(error < 0);
        context.sizes += (mapped + 1 - kind) >> 1;
        if context.count == reset {
            context.sizes >>= 1;
            context.count >>= 1;
            context.negative >>= 1;
        }
        context.count += 1;

        if is_alike {
            Ok(self.reconstruct(left, error))
        } else {
            Ok(self.reconstruct(over, if left > over { -error } else { error }))
        }
    }

    /// A gradient's region, -4 to 4 (A.3.3).
    fn quantise(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.parameters.thresholds;
        let size = match gradient.abs() {
            size if size >= t3 => 4,
            size if size >= t2 => 3,
            size if size >= t1 => 2,
            size if size > self.parameters.near => 1,
            _ => 0,
        };
        size * gradient.signum()
    }

    /// A code of limited length (A.5.3): the mapped error.
    fn golomb(&mut self, k: u32, limit: u32) -> Result<i32, String> {
        let escape = limit.saturating_sub(self.error_bits + 1);
        let zeros = self.bits.zeros(escape)?;
        let mapped = if zeros < escape {
            i64::from(zeros) << k | i64::from(self.bits.read(k)?)
        } else {
            i64::from(self.bits.read(self.error_bits)?) + 1
        };
        // An error is at most the range; more would overflow the sums.
        if mapped > 2 * i64::from(self.range) + 2 {
            return Err(DAMAGED.into());
        }
        Ok(mapped as i32)
    }

    /// Prediction and error together, brought back into the range (A.4.5).
    fn reconstruct(&self, prediction: i32, error: i32) -> i32 {
        let Parameters { max_value, near, .. } = self.parameters;
        let step = 2 * near + 1;
        let mut value = prediction + error * step;
        if value < -near {
            value += self.range * step;
        } else if value > max_value + near {
            value -= self.range * step;
        }
        value.clamp(0, max_value)
    }
}

impl Context {
    /// A.6.1 and A.6.2.
    fn update(&mut self, error: i32, near: i32, reset: i32) {
        self.bias += error * (2 * near + 1);
        self.sizes += error.abs();
        if self.count == reset {
            self.sizes >>= 1;
            self.bias >>= 1;
            self.count >>= 1;
        }
        self.count += 1;
        if self.bias <= -self.count {
            self.bias = (self.bias + self.count).max(1 - self.count);
            self.correction = (self.correction - 1).max(-128);
        } else if self.bias > 0 {
            self.bias = (self.bias - self.count).min(0);
            self.correction = (self.correction + 1).min(127);
        }
    }
}

/// Bits of a code's lower part (`k`, A.5.1).
fn golomb_bits(count: i32, sizes: i32) -> u32 {
    (0..31).find(|k| i64::from(count) << k >= i64::from(sizes)).unwrap_or(31)
}
