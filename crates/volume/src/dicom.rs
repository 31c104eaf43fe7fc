//! Reading a CT series from DICOM files, and writing what was found in it.
//!
//! `find` lists the series in any folder tree, `slice` reads the header of one file or of its
//! frames, `left_out` takes away what is no slice of the stack, `stack` puts the slices in order or
//! says exactly why they do not make a volume, `pixels` reads their Hounsfield units. `open` and
//! `compressed` know the encodings. `source_images` is what a derived object says of its origin,
//! `segmentation` writes one.

mod claims;
mod compressed;
mod error;
mod find;
mod header;
mod left_out;
mod open;
mod pixel_layout;
mod pixels;
mod segmentation;
mod series;
mod slice;
mod source_images;
mod stack;

pub use error::DicomError;
pub use find::{Found, SeriesAttributes, SeriesFiles, find_series};
pub use segmentation::{Algorithm, Segment, SegmentationError, write_segmentation};
pub use series::{CtScan, SeriesGrid, is_localizer, read_folder, read_grid, read_series};
pub use source_images::SourceImages;
