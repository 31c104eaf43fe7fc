//! A nodule as a picture: axial, coronal and sagittal, outlines drawn on the CT.

use std::path::Path;

use anyhow::{Context, Result};
use dasl_volume::{CtVolume, Geometry, LabelVolume, PointMm, VoxelPos};

/// Pixels of one view along each side.
const VIEW: usize = 200;
/// Pixels across an outline.
const LINE: usize = 2;
/// Pixels along an edge from dash to dash.
const DASH: usize = 8;
/// Lung window, HU.
const WINDOW_HU: [f64; 2] = [-1350.0, 150.0];

/// An outline: one label of a map, in a colour.
pub struct Outline<'a> {
    /// The map.
    pub labels: &'a LabelVolume,
    /// Its label; `None` is any.
    pub label: Option<u16>,
    /// Red, green, blue.
    pub color: [u8; 3],
    /// Whether it is drawn with gaps, through which what lies below is seen.
    pub dashed: bool,
}

/// A picture: shades of grey, then the outlines' colours.
pub struct Picture {
    width: usize,
    height: usize,
    /// Red, green, blue of each colour.
    palette: Vec<u8>,
    /// Place of each pixel's colour in the palette.
    pixels: Vec<u8>,
}

/// How much of the surroundings of a nodule is shown, mm.
pub fn extent_mm(diameter_mm: f64) -> f64 {
    (2.5 * diameter_mm).clamp(40.0, 120.0)
}

/// Three views through a point, `extent_mm` wide, side by side.
pub fn picture(ct: &CtVolume, outlines: &[Outline], center: PointMm, extent_mm: f64) -> Picture {
    let (width, height) = (3 * VIEW, VIEW);
    let shades = 256 - outlines.len();
    let mut pixels = vec![0; width * height];
    let step = extent_mm / VIEW as f64;
    for view in 0..3 {
        let at = |row: usize, column: usize| {
            let right = (column as f64 - VIEW as f64 / 2.0) * step;
            let down = (row as f64 - VIEW as f64 / 2.0) * step;
            // Axial: seen from the feet. Coronal: from the front. Sagittal: from the left.
            let (x, y, z) = match view {
                0 => (right, down, 0.0),
                1 => (right, 0.0, -down),
                _ => (0.0, right, -down),
            };
            PointMm::new(center.x + x, center.y + y, center.z + z)
        };
        let masks: Vec<Vec<bool>> = outlines
            .iter()
            .map(|o| {
                let pixels = (0..VIEW * VIEW).map(|i| is_inside(o, at(i / VIEW, i % VIEW)));
                pixels.collect()
            })
            .collect();
        for row in 0..VIEW {
            for column in 0..VIEW {
                let mut color = shade(hounsfield(ct, at(row, column)), shades);
                for (i, (outline, mask)) in outlines.iter().zip(&masks).enumerate() {
                    let gap = outline.dashed && (row + column) % DASH > DASH / 2;
                    if is_edge(mask, row, column) && !gap {
                        color = (shades + i) as u8;
                    }
                }
                pixels[row * width + view * VIEW + column] = color;
            }
        }
    }
    let grey = |shade: usize| [(shade * 255 / (shades - 1)) as u8; 3];
    let palette = (0..shades).map(grey).chain(outlines.iter().map(|o| o.color)).flatten();
    Picture { width, height, palette: palette.collect(), pixels }
}

impl Picture {
    /// The picture as a PNG file's bytes.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn png(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(self.palette.as_slice());
        encoder.set_compression(png::Compression::High);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(bytes)
    }

    /// Writes the picture as a PNG file.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = self.png()?;
        dasl_volume::write_atomic(path, |file| file.write_all(&bytes))
            .with_context(|| path.display().to_string())
    }
}

/// A density's place among the shades of grey.
fn shade(hu: f64, shades: usize) -> u8 {
    let [low, high] = WINDOW_HU;
    let most = shades as f64 - 1.0;
    ((hu - low) / (high - low) * most).clamp(0.0, most) as u8
}

/// Trilinear; air outside.
fn hounsfield(ct: &CtVolume, p: PointMm) -> f64 {
    let v = ct.geometry.to_voxel(p);
    let at = [v.z, v.y, v.x];
    let shape = ct.geometry.shape;
    if (0..3).any(|a| at[a] < -0.5 || at[a] > shape[a] as f64 - 0.5) {
        return f64::from(dasl_volume::PADDING_HU);
    }
    let mut sum = 0.0;
    for corner in 0..8 {
        let mut weight = 1.0;
        let mut index = [0; 3];
        for axis in 0..3 {
            let x = at[axis].clamp(0.0, shape[axis] as f64 - 1.0);
            let high = corner >> axis & 1 == 1;
            weight *= if high { x.fract() } else { 1.0 - x.fract() };
            index[axis] = (x as usize + usize::from(high)).min(shape[axis] - 1);
        }
        sum += weight * f64::from(ct.voxels[index]);
    }
    sum
}

fn is_inside(outline: &Outline, p: PointMm) -> bool {
    let label = nearest(outline.labels, &outline.labels.geometry, p);
    match outline.label {
        Some(wanted) => label == wanted,
        None => label != 0,
    }
}

fn nearest(labels: &LabelVolume, geometry: &Geometry, p: PointMm) -> u16 {
    let VoxelPos { z, y, x } = geometry.to_voxel(p);
    let at = [z, y, x].map(|v| v.round() as i64);
    if (0..3).any(|a| at[a] < 0 || at[a] >= geometry.shape[a] as i64) {
        return 0;
    }
    labels.voxels[at.map(|v| v as usize)]
}

/// Inside, with a pixel outside that is at most the line's width away.
fn is_edge(mask: &[bool], row: usize, column: usize) -> bool {
    let inside = |r: usize, c: usize| r < VIEW && c < VIEW && mask[r * VIEW + c];
    let near = |by: usize| {
        inside(row.wrapping_sub(by), column)
            && inside(row + by, column)
            && inside(row, column.wrapping_sub(by))
            && inside(row, column + by)
    };
    inside(row, column) && !(1..=LINE).all(near)
}
