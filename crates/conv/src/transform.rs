//! Winograd's minimal filtering F(2 x 2, 3 x 3) over z and y (Winograd 1980; Lavin and Gray 2016): a
//! 2 x 2 block of outputs of a 3 x 3 kernel takes 16 products instead of 36. A block's 4 x 4 inputs
//! become 16 planes by B^T d B, the kernel by G g G^T, and the 16 products outputs by A^T m A.

use crate::simd::Lanes;

/// Products of a block; plane `4 * i + j` belongs to place (i, j) of the 4 x 4.
pub(crate) const PLANES: usize = 16;

const G: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

/// G g G^T of the kernel g `[z, y]`.
pub(crate) fn kernel(g: &[[f32; 3]; 3]) -> [f32; PLANES] {
    let mut planes = [0.0; PLANES];
    for (plane, value) in planes.iter_mut().enumerate() {
        for z in 0..3 {
            for y in 0..3 {
                *value += G[plane / 4][z] * G[plane % 4][y] * g[z][y];
            }
        }
    }
    planes
}

/// G^T p G: the gradient of the kernel g `[z, y]` from that of its planes.
pub(crate) fn kernel_gradient(planes: &[f32; PLANES]) -> [[f32; 3]; 3] {
    let mut g = [[0.0; 3]; 3];
    for z in 0..3 {
        for y in 0..3 {
            for (plane, value) in planes.iter().enumerate() {
                g[z][y] += G[plane / 4][z] * G[plane % 4][y] * value;
            }
        }
    }
    g
}

/// Planes `4 * I ..` of four of B^T d B, for one vector of x: `from` is the first of 4 x 4 rows,
/// `plane` apart along z and `row` along y; the planes are `step` apart from `to` on.
///
/// # Safety
/// The processor has `W`'s instruction set; all vectors can be read and written.
#[inline(always)]
pub(crate) unsafe fn input<W: Lanes, const I: usize>(
    from: *const f32,
    (plane, row): (usize, usize),
    to: *mut f32,
    step: usize,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let mut t = [W::splat(0.0); 4];
        for y in 0..4 {
            let from = from.add(y * row);
            t[y] = match I {
                0 => W::load(from).sub(W::load(from.add(2 * plane))),
                1 => W::load(from.add(plane)).add(W::load(from.add(2 * plane))),
                2 => W::load(from.add(2 * plane)).sub(W::load(from.add(plane))),
                _ => W::load(from.add(plane)).sub(W::load(from.add(3 * plane))),
            };
        }
        t[0].sub(t[2]).store(to);
        t[1].add(t[2]).store(to.add(step));
        t[2].sub(t[1]).store(to.add(2 * step));
        t[1].sub(t[3]).store(to.add(3 * step));
    }
}

/// Planes `4 * I ..` of four of A g A^T, for one vector of x of a block's 2 x 2 output gradients;
/// places as for [`input`].
///
/// # Safety
/// As [`input`].
#[inline(always)]
pub(crate) unsafe fn gradient<W: Lanes, const I: usize>(
    from: *const f32,
    (plane, row): (usize, usize),
    to: *mut f32,
    step: usize,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let zero = W::splat(0.0);
        let mut t = [zero; 2];
        for y in 0..2 {
            let from = from.add(y * row);
            t[y] = match I {
                0 => W::load(from),
                1 => W::load(from).add(W::load(from.add(plane))),
                2 => W::load(from).sub(W::load(from.add(plane))),
                _ => zero.sub(W::load(from.add(plane))),
            };
        }
        t[0].store(to);
        t[0].add(t[1]).store(to.add(step));
        t[0].sub(t[1]).store(to.add(2 * step));
        zero.sub(t[1]).store(to.add(3 * step));
    }
}

/// A^T m A of one vector of x, added to the block's four outputs or written there: `[z, y]`, `plane`
/// apart along z and `row` along y.
///
/// # Safety
/// As [`input`].
#[inline(always)]
pub(crate) unsafe fn output<W: Lanes>(
    from: *const f32,
    step: usize,
    to: *mut f32,
    (plane, row): (usize, usize),
    add: bool,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let mut rows = [[W::splat(0.0); 4]; 2];
        for j in 0..4 {
            let m1 = W::load(from.add((4 + j) * step));
            let m2 = W::load(from.add((8 + j) * step));
            rows[0][j] = W::load(from.add(j * step)).add(m1).add(m2);
            rows[1][j] = m1.sub(m2).sub(W::load(from.add((12 + j) * step)));
        }
        for (z, [a, b, c, d]) in rows.into_iter().enumerate() {
            for (y, mut value) in [a.add(b).add(c), b.sub(c).sub(d)].into_iter().enumerate() {
                let to = to.add(z * plane + y * row);
                if add {
                    value = value.add(W::load(to));
                }
                value.store(to);
            }
        }
    }
}
