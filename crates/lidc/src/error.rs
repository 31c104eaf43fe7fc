//! What can be wrong with a reading, a scan or a folder of nodule volumes.

use std::path::PathBuf;

/// Why readers' marks could not be read or placed on a scan.
#[derive(Debug, thiserror::Error)]
pub enum LidcError {
    /// A file could not be opened or read.
    #[error("{}: cannot be read", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not well-formed XML.
    #[error("{}: not well-formed XML: {why}; download the file again", file.display())]
    NotXml {
        /// The file.
        file: PathBuf,
        /// The parser's words, with line and column.
        why: String,
    },
    /// The file is XML, but not a reader's XML of LIDC-IDRI.
    #[error(
        "{}: the root element is <{root}>, but a reading of LIDC-IDRI starts with \
         <LidcReadMessage> (CT) or <IdriReadMessage> (X-ray)", file.display()
    )]
    OtherXml {
        /// The file.
        file: PathBuf,
        /// Name of the root element.
        root: String,
    },
    /// An element is missing or holds something unexpected.
    #[error("{} line {line}: {what}", file.display())]
    Element {
        /// The file.
        file: PathBuf,
        /// Line of the element.
        line: u32,
        /// Which element, and what is wrong with it.
        what: String,
    },
    /// The reading names another series than the scan's.
    #[error(
        "the reading is of series {reading}, the scan is series {scan}: take the XML that \
         names the scan's SeriesInstanceUID in its header"
    )]
    OtherSeries {
        /// Series the XML names.
        reading: String,
        /// Series of the scan.
        scan: String,
    },
    /// An outline lies on no slice of the scan.
    #[error(
        "series {series}, reader {reader}, nodule {nodule:?}: no slice at z = {z_mm} mm (the \
         scan's slices run from {low_mm} to {high_mm} mm, the nearest is {off_mm} mm away): \
         XML and scan do not fit; check that they are of the same series and that no slice is \
         missing"
    )]
    NoSlice {
        /// Series the XML names.
        series: String,
        /// Reader, counted from 1.
        reader: usize,
        /// The reader's name for the nodule.
        nodule: String,
        /// Position of the outline, mm.
        z_mm: f64,
        /// Lowest slice, mm.
        low_mm: f64,
        /// Highest slice, mm.
        high_mm: f64,
        /// Distance to the nearest slice, mm.
        off_mm: f64,
    },
    /// An outline leaves the image.
    #[error(
        "series {series}, reader {reader}, nodule {nodule:?}, z = {z_mm} mm: the point column \
         {x}, row {y} lies outside the image of {columns} x {rows} pixels: XML and scan do not \
         fit, or the file is damaged"
    )]
    OutsideImage {
        /// Series the XML names.
        series: String,
        /// Reader, counted from 1.
        reader: usize,
        /// The reader's name for the nodule.
        nodule: String,
        /// Position of the outline, mm.
        z_mm: f64,
        /// Column.
        x: i32,
        /// Row.
        y: i32,
        /// Columns of the image.
        columns: usize,
        /// Rows of the image.
        rows: usize,
    },
    /// The grid cannot carry outlines drawn on axial slices.
    #[error("series {series}: {what}")]
    Grid {
        /// Series the XML names.
        series: String,
        /// What is wrong with the grid and what would be right.
        what: String,
    },
    /// A folder of nodule volumes is incomplete or contradicts itself.
    #[error("{}: {what}", file.display())]
    Voi {
        /// File or folder.
        file: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// A nodule volume's image could not be read.
    #[error("{}: the image cannot be read", file.display())]
    VoiImage {
        /// The file.
        file: PathBuf,
        /// What the reader of images said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
