//! Max pooling and its gradient.

use proptest::prelude::*;

use super::{Array, index, margins, voxels};
use crate::pool::{max_pool2_gradient_on, max_pool2_on};
use crate::{Isa, View, max_pool2};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn max_pool2_and_its_gradient(
        (n, z, y, x) in (1..3_usize, 1..4_usize, 1..4_usize, 1..12_usize),
        channels in 1..20_usize, x_margins in margins(), out_margins in margins(), seed: u64,
    ) {
        let (dims, fine) = ([n, z, y, x], [n, 2 * z, 2 * y, 2 * x]);
        let size = n * z * y * x;
        let mut source = Array::new(seed, 8 * size, channels, x_margins);
        // Coarse, so that equal values occur.
        source.data.iter_mut().for_each(|v| *v = (*v * 4.0).round());
        let like = Array::new(seed + 1, size, channels, out_margins);
        let (mut out, mut places) = (Vec::new(), Vec::new());
        let mut dx = vec![0.0; 8 * size * channels];
        for v in voxels(dims) {
            for c in 0..channels {
                let corner = |k: usize| {
                    index(fine, [v[0], 2 * v[1] + k / 4, 2 * v[2] + k / 2 % 2, 2 * v[3] + k % 2])
                };
                let value = |k| source.at(corner(k), c) as f32;
                let best = (0..8).fold(0, |best, k| if value(k) > value(best) { k } else { best });
                out.push(value(best));
                places.push(best as u8);
                dx[corner(best) * channels + c] += like.at(index(dims, v), c) as f32;
            }
        }
        for isa in Isa::available() {
            let mut target = like.clone();
            let mut argmax = vec![9; size * channels];
            max_pool2_on(isa, source.view(), fine, target.view_mut(), &mut argmax);
            assert_eq!(target.dense(), out, "{isa:?}");
            assert_eq!(target.hidden(), like.hidden(), "{isa:?}");
            assert_eq!(argmax, places, "{isa:?}");
            let mut target = source.clone();
            max_pool2_gradient_on(isa, like.view(), &argmax, dims, target.view_mut());
            assert_eq!(target.dense(), dx, "{isa:?}");
            assert_eq!(target.hidden(), source.hidden(), "{isa:?}");
        }
    }
}

#[test]
#[should_panic(expected = "must be even")]
fn odd_sizes_panic() {
    max_pool2(View::new(&[0.0; 12], 1), [1, 2, 2, 3]);
}
