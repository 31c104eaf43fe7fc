//! One reader's outlined nodule on a scan's grid: contours on slices and the mask inside them.

use crate::polygon::flip_inside;
use crate::{Characteristics, LidcError, ReaderNodule, Reading, Roi, SlicePositions};
use ndarray::{Array3, ArrayViewMut2, s};

/// One closed contour on one slice.
#[derive(Debug, Clone, PartialEq)]
pub struct Contour {
    /// Slice.
    pub slice: usize,
    /// Whether the inside belongs to the nodule (true) or is a hole (false).
    pub inclusion: bool,
    /// Points as [row, column], in the reader's order.
    pub points: Vec<[usize; 2]>,
}

/// One reader's annotation: pylidc's `Annotation`.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// Reader, from 0 in the file's order.
    pub reader: usize,
    /// The reader's name for the nodule.
    pub id: String,
    /// The reader's ratings.
    pub characteristics: Characteristics,
    /// Contours in the file's order; never empty, each of at least two points.
    pub contours: Vec<Contour>,
}

/// A boolean mask in its box on the scan's grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// First voxel [z, y, x] of the box.
    pub start: [usize; 3],
    /// Whether each voxel of the box belongs, [z, y, x].
    pub voxels: Array3<bool>,
}

impl Mask {
    /// Indices [z, y, x] on the scan's grid of the voxels that belong, in array order.
    pub fn indices(&self) -> impl Iterator<Item = [usize; 3]> {
        let [z0, y0, x0] = self.start;
        self.voxels
            .indexed_iter()
            .filter(|&(_, &inside)| inside)
            .map(move |((z, y, x), _)| [z0 + z, y0 + y, x0 + x])
    }

    /// Number of voxels that belong.
    pub fn count(&self) -> usize {
        self.voxels.iter().filter(|&&inside| inside).count()
    }
}

impl Outline {
    /// Lowest and highest voxel [z, y, x] that a contour point touches, both inclusive (pylidc's
    /// `bbox_matrix`).
    pub fn bounds(&self) -> ([usize; 3], [usize; 3]) {
        let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
        for [z, y, x] in self.points() {
            for (axis, at) in [z, y, x].into_iter().enumerate() {
                low[axis] = low[axis].min(at);
                high[axis] = high[axis].max(at);
            }
        }
        (low, high)
    }

    /// All contour points as voxel indices [z, y, x].
    pub fn points(&self) -> impl Iterator<Item = [usize; 3]> {
        self.contours.iter().flat_map(|c| c.points.iter().map(|&[y, x]| [c.slice, y, x]))
    }

    /// The mask of this outline in its own box.
    pub fn mask(&self) -> Mask {
        let (low, high) = self.bounds();
        self.mask_in(low, high)
    }

    /// The mask in the box `low..=high` [z, y, x], which must enclose the outline's bounds:
    /// pylidc's `Annotation.boolean_mask(bbox=...)` with its default `include_contour_points =
    /// False`. First, contour by contour in the reader's order, what an inclusion encloses is
    /// added and its own points are taken away; then what an exclusion encloses, its own points
    /// with it. The order matters where contours of a slice touch, so it is kept.
    pub(crate) fn mask_in(&self, low: [usize; 3], high: [usize; 3]) -> Mask {
        let shape: [usize; 3] = std::array::from_fn(|axis| high[axis] - low[axis] + 1);
        let mut voxels = Array3::from_elem(shape, false);
        let (inclusions, holes): (Vec<_>, Vec<_>) = self.contours.iter().partition(|c| c.inclusion);
        for contour in inclusions.into_iter().chain(holes) {
            let slice = voxels.slice_mut(s![contour.slice - low[0], .., ..]);
            contour.draw(slice, [low[1], low[2]]);
        }
        Mask { start: low, voxels }
    }
}

impl Contour {
    /// Adds the inside to `slice` (or takes it away), whose first pixel is `start` [row, column].
    fn draw(&self, mut slice: ArrayViewMut2<'_, bool>, start: [usize; 2]) {
        let local = |p: &[usize; 2]| [0, 1].map(|axis| (p[axis] - start[axis]) as i64);
        let polygon: Vec<[i64; 2]> = self.points.iter().map(local).collect();
        let bound = |axis: usize| {
            let at = polygon.iter().map(move |p| p[axis]);
            (at.clone().min().unwrap_or(0), at.max().unwrap_or(0))
        };
        let ((y0, y1), (x0, x1)) = (bound(0), bound(1));
        let mut inside = ndarray::Array2::from_elem(slice.dim(), false);
        flip_inside(&polygon, [y0, x0], [y1, x1], |[y, x]| {
            inside[[y as usize, x as usize]] ^= true;
        });
        for (voxel, inside) in slice.iter_mut().zip(inside) {
            *voxel = if self.inclusion { *voxel || inside } else { *voxel && !inside };
        }
        for [y, x] in polygon {
            slice[[y as usize, x as usize]] = false;
        }
    }
}

/// Places the outlined nodules of a reading on a scan: pylidc's annotations, in its order
/// (reader by reader, each in the file's order). `image` is the slices' size, [rows, columns].
///
/// # Errors
/// [`LidcError::NoSlice`] if an outline lies farther than half a spacing from every slice,
/// [`LidcError::OutsideImage`] if one of its points lies outside of the image. (pylidc would
/// take the nearest slice however far, and wrap a negative index around: both hide an XML that
/// does not belong to the scan. No outline of the collection leaves its image.)
pub fn outlines(
    reading: &Reading,
    slices: &SlicePositions,
    image: [usize; 2],
) -> Result<Vec<Outline>, LidcError> {
    let mut placed = Vec::new();
    for session in &reading.sessions {
        for nodule in session.nodules.iter().filter(|n| n.is_annotation()) {
            let Some(characteristics) = nodule.characteristics else { continue };
            let place = Place { reading, reader: session.reader, nodule, slices, image };
            let contours =
                nodule.outlined().map(|roi| place.contour(roi)).collect::<Result<_, _>>()?;
            let (reader, id) = (session.reader, nodule.id.clone());
            placed.push(Outline { reader, id, characteristics, contours });
        }
    }
    Ok(placed)
}

/// Where a nodule is being placed, for the sake of clear errors.
struct Place<'a> {
    reading: &'a Reading,
    reader: usize,
    nodule: &'a ReaderNodule,
    slices: &'a SlicePositions,
    image: [usize; 2],
}

impl Place<'_> {
    fn contour(&self, roi: &Roi) -> Result<Contour, LidcError> {
        let slice = self.slices.slice_at(roi.z_mm).ok_or_else(|| {
            let (low_mm, high_mm) = self.slices.range_mm();
            LidcError::NoSlice {
                series: self.reading.series_uid.clone(),
                reader: self.reader + 1,
                nodule: self.nodule.id.clone(),
                z_mm: roi.z_mm,
                low_mm,
                high_mm,
                off_mm: self.slices.nearest(roi.z_mm).1,
            }
        })?;
        let points = roi.points.iter().map(|&p| self.pixel(roi, p)).collect::<Result<_, _>>()?;
        Ok(Contour { slice, inclusion: roi.inclusion, points })
    }

    /// [row, column] of an XML point [x, y].
    fn pixel(&self, roi: &Roi, [x, y]: [i32; 2]) -> Result<[usize; 2], LidcError> {
        let [rows, columns] = self.image;
        match (usize::try_from(y), usize::try_from(x)) {
            (Ok(row), Ok(column)) if row < rows && column < columns => Ok([row, column]),
            _ => Err(LidcError::OutsideImage {
                series: self.reading.series_uid.clone(),
                reader: self.reader + 1,
                nodule: self.nodule.id.clone(),
                z_mm: roi.z_mm,
                x,
                y,
                columns,
                rows,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(slice: usize, from: usize, to: usize, inclusion: bool) -> Contour {
        let side = from..=to;
        let mut points: Vec<[usize; 2]> = side.clone().map(|i| [from, i]).collect();
        points.extend(side.clone().skip(1).map(|i| [i, to]));
        points.extend(side.clone().rev().skip(1).map(|i| [to, i]));
        points.extend(side.rev().skip(1).map(|i| [i, from]));
        Contour { slice, inclusion, points }
    }

    fn outline(contours: Vec<Contour>) -> Outline {
        Outline {
            reader: 0,
            id: "a".to_owned(),
            characteristics: Characteristics::default(),
            contours,
        }
    }

    #[test]
    fn a_square_encloses_its_inside_without_its_own_pixels() {
        let mask = outline(vec![square(3, 10, 20, true)]).mask();
        assert_eq!(mask.start, [3, 10, 10]);
        assert_eq!(mask.voxels.shape(), [1, 11, 11]);
        assert_eq!(mask.count(), 9 * 9);
        assert!(
            mask.indices().all(|[z, y, x]| z == 3 && (11..20).contains(&y) && x > 10 && x < 20)
        );
    }

    #[test]
    fn a_hole_is_taken_away_with_its_own_pixels() {
        let mask = outline(vec![square(0, 14, 17, false), square(0, 10, 20, true)]).mask();
        assert_eq!(mask.count(), 9 * 9 - 4 * 4);
    }

    #[test]
    fn a_later_contour_cuts_its_points_out_of_an_earlier_one() {
        let mask = outline(vec![square(0, 10, 20, true), square(0, 14, 17, true)]).mask();
        assert_eq!(mask.count(), 9 * 9 - 12);
        let mask = outline(vec![square(0, 14, 17, true), square(0, 10, 20, true)]).mask();
        assert_eq!(mask.count(), 9 * 9);
    }
}
