//! Boxes of voxels.

/// A box of voxels [z, y, x]; it may reach outside a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// First voxel.
    pub start: [i64; 3],
    /// The voxel after the last one.
    pub end: [i64; 3],
}

impl Block {
    /// The box of `shape` voxels from `start` on.
    pub fn new(start: [usize; 3], shape: [usize; 3]) -> Self {
        Self {
            start: start.map(|v| v as i64),
            end: [0, 1, 2].map(|axis| (start[axis] + shape[axis]) as i64),
        }
    }

    /// The tight box of the set voxels; `None` if there is none.
    pub fn around<'a>(
        set: impl IntoIterator<Item = ((usize, usize, usize), &'a bool)>,
    ) -> Option<Self> {
        let mut around: Option<Self> = None;
        for ((z, y, x), _) in set.into_iter().filter(|(_, inside)| **inside) {
            let at = [z, y, x].map(|v| v as i64);
            let block = around.get_or_insert(Self { start: at, end: at.map(|v| v + 1) });
            for (axis, at) in at.into_iter().enumerate() {
                block.start[axis] = block.start[axis].min(at);
                block.end[axis] = block.end[axis].max(at + 1);
            }
        }
        around
    }

    /// The box with `voxels` more on every side.
    #[must_use]
    pub fn grown(&self, voxels: i64) -> Self {
        Self { start: self.start.map(|v| v - voxels), end: self.end.map(|v| v + voxels) }
    }

    /// The part of it inside a grid.
    #[must_use]
    pub fn within(&self, shape: [usize; 3]) -> Self {
        let cut = |v: [i64; 3]| [0, 1, 2].map(|axis| v[axis].clamp(0, shape[axis] as i64));
        Self { start: cut(self.start), end: cut(self.end) }
    }

    /// Voxels along [z, y, x].
    pub fn shape(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| (self.end[axis] - self.start[axis]).max(0) as usize)
    }

    /// Whether they share a voxel.
    pub fn meets(&self, other: &Self) -> bool {
        (0..3).all(|axis| self.start[axis] < other.end[axis] && other.start[axis] < self.end[axis])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_that_touch_do_not_meet() {
        let block = Block::new([2, 2, 2], [3, 3, 3]);
        assert!(!block.meets(&Block::new([5, 2, 2], [1, 1, 1])));
        assert!(block.meets(&Block::new([4, 4, 4], [9, 9, 9])));
        assert!(block.grown(1).meets(&Block::new([5, 2, 2], [1, 1, 1])));
        assert_eq!(block.grown(3).within([4, 9, 9]), Block::new([0, 0, 0], [4, 8, 8]));
    }
}
