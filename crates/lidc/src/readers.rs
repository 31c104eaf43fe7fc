//! The readers of one nodule, each with his own mask: what is needed to hold them against each
//! other.

use crate::consensus::{bounds, consensus_in, joined, outlines_of, readers};
use crate::{Outline, Rule};
use ndarray::Array3;

/// One reader's view of a nodule. All masks [z, y, x] of a nodule lie in one box.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderMask {
    /// Reader, from 0 in the file's order.
    pub reader: usize,
    /// What the reader outlined, pieces joined.
    pub mask: Array3<bool>,
    /// The consensus of the other readers alone; `None` where the rule leaves no voxel.
    pub of_others: Option<Array3<bool>>,
}

/// A nodule as its readers saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadNodule {
    /// Reader by reader.
    pub readers: Vec<ReaderMask>,
    /// The consensus of all, in the same box; `None` where the rule leaves no voxel.
    pub consensus: Option<Array3<bool>>,
    /// Texture as rated, one per outline.
    pub texture: Vec<u8>,
}

/// The readers' masks of one group of outlines, in the box about all of them; `None` for no
/// outlines.
pub fn reader_masks(group: &[&Outline], rule: Rule) -> Option<ReadNodule> {
    let (low, high) = bounds(group)?;
    let of_reader = |reader: usize| {
        let others: Vec<&Outline> = group.iter().copied().filter(|o| o.reader != reader).collect();
        ReaderMask {
            reader,
            mask: joined(&outlines_of(group, reader), low, high),
            of_others: consensus_in(&others, rule, low, high).filter(|_| !others.is_empty()),
        }
    };
    Some(ReadNodule {
        readers: readers(group).into_iter().map(of_reader).collect(),
        consensus: consensus_in(group, rule, low, high),
        texture: group.iter().map(|o| o.characteristics.texture).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Characteristics, Contour, consensus};

    /// A square whose inside are the `side` x `side` pixels from [2, `x`]; as a reader's outline, it
    /// names every pixel that it runs through.
    fn square(reader: usize, x: usize, side: usize) -> Outline {
        let (y0, y1, x0, x1) = (1, 2 + side, x - 1, x + side);
        let (top, right) = ((x0..x1).map(|x| [y0, x]), (y0..y1).map(|y| [y, x1]));
        let (bottom, left) = ((x0 + 1..=x1).map(|x| [y1, x]), (y0 + 1..=y1).map(|y| [y, x0]));
        let points = top.chain(right).chain(bottom.rev()).chain(left.rev()).collect();
        let contours = vec![Contour { slice: 0, inclusion: true, points }];
        Outline { reader, id: String::new(), characteristics: Characteristics::default(), contours }
    }

    #[test]
    fn pieces_are_joined_and_a_reader_is_not_among_the_others() {
        let (a, b, piece) = (square(0, 2, 3), square(2, 2, 4), square(2, 9, 2));
        let group = [&a, &b, &piece];
        let nodule = reader_masks(&group, Rule::Pylidc).expect("a nodule");
        let voxels = |mask: &Array3<bool>| mask.iter().filter(|&&v| v).count();
        assert_eq!(nodule.readers.iter().map(|r| r.reader).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(voxels(&nodule.readers[0].mask), 9);
        assert_eq!(voxels(&nodule.readers[1].mask), 16 + 4);
        // The others of reader 2 are reader 0 alone, those of reader 0 the two outlines of reader 2.
        assert_eq!(nodule.readers[1].of_others.as_ref(), Some(&nodule.readers[0].mask));
        assert_eq!(nodule.readers[0].of_others.as_ref(), Some(&nodule.readers[1].mask));
        let all = consensus(&group, Rule::Pylidc).expect("a consensus").voxels;
        assert_eq!(nodule.consensus, Some(all));
    }

    #[test]
    fn a_single_reader_has_no_others() {
        let one = square(1, 4, 3);
        let nodule = reader_masks(&[&one], Rule::Pylidc).expect("a nodule");
        assert_eq!(nodule.readers[0].of_others, None);
        assert_eq!(reader_masks(&[], Rule::Pylidc), None);
    }
}
