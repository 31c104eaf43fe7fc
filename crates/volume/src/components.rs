//! Connected bodies of a mask.

/// Bodies of a mask, numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components {
    /// 0 outside, n in body n; as long as the mask.
    pub labels: Vec<u32>,
    /// Body and number of voxels, largest first; of two equal ones the first met.
    pub by_size: Vec<(u32, usize)>,
}

/// Bodies whose voxels touch by a face.
///
/// # Shapes
/// - `mask`: [z, y, x] as a flat slice, x fastest
pub fn components(mask: &[bool], shape: [usize; 3]) -> Components {
    let [_, height, width] = shape;
    let plane = height * width;
    let mut labels = vec![0_u32; mask.len()];
    let mut by_size = Vec::new();
    let mut stack = Vec::new();
    for seed in 0..mask.len() {
        if !mask[seed] || labels[seed] != 0 {
            continue;
        }
        let label = by_size.len() as u32 + 1;
        labels[seed] = label;
        stack.push(seed);
        let mut size = 0;
        while let Some(at) = stack.pop() {
            size += 1;
            let (x, y) = (at % width, at / width % height);
            let mut visit = |next: usize| {
                if mask[next] && labels[next] == 0 {
                    labels[next] = label;
                    stack.push(next);
                }
            };
            if x > 0 {
                visit(at - 1);
            }
            if x + 1 < width {
                visit(at + 1);
            }
            if y > 0 {
                visit(at - width);
            }
            if y + 1 < height {
                visit(at + width);
            }
            if at >= plane {
                visit(at - plane);
            }
            if at + plane < mask.len() {
                visit(at + plane);
            }
        }
        by_size.push((label, size));
    }
    by_size.sort_by_key(|(label, size)| (std::cmp::Reverse(*size), *label));
    Components { labels, by_size }
}

/// Leaves of a mask its largest body, of two equal ones the first.
///
/// # Shapes
/// As for [`components`].
pub fn keep_largest(mask: &mut [bool], shape: [usize; 3]) {
    let bodies = components(mask, shape);
    let largest = bodies.by_size.first().map(|(body, _)| *body);
    for (inside, body) in mask.iter_mut().zip(bodies.labels) {
        *inside = Some(body) == largest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voxels_that_touch_by_an_edge_only_are_apart() {
        // Rows of a 1 x 2 x 3 grid: 101 and 011.
        let mask = [true, false, true, false, true, true];
        let found = components(&mask, [1, 2, 3]);
        assert_eq!(found.labels, vec![1, 0, 2, 0, 2, 2]);
        assert_eq!(found.by_size, vec![(2, 3), (1, 1)]);
    }
}
