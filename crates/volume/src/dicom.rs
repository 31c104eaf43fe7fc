//! Reading a CT series from DICOM files.
//!
//! `find` lists the series in any folder tree, `slice` reads one file, `series` puts slices
//! together into a volume or says exactly why they do not make one.

mod error;
mod find;
mod series;
mod slice;

pub use error::DicomError;
pub use find::{Found, SeriesFiles, find_series};
pub use series::{CtScan, read_folder, read_series};
