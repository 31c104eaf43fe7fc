//! What can be wrong with DICOM files, in words for the person who has them.

use std::path::PathBuf;

/// Why a folder or a series could not be read. Each message is one line, names the file or the
/// series and says what to do; none holds a patient's name.
#[derive(Debug, thiserror::Error)]
pub enum DicomError {
    /// The folder does not exist or cannot be listed.
    #[error("{}: cannot list this folder ({reason}); check the path", .folder.display())]
    Folder {
        /// The folder asked for.
        folder: PathBuf,
        /// The file system's answer.
        reason: String,
    },
    /// Nothing readable in the folder.
    #[error("{}: no DICOM file in this folder; give the folder that holds the CT slices", .0.display())]
    Empty(PathBuf),
    /// A file that should be DICOM and cannot be read.
    #[error("{}: cannot be read as DICOM ({reason}); copy the file again or leave it out", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the parser met.
        reason: String,
    },
    /// More than one CT series where one is wanted.
    #[error("{}: {} CT series here ({}); pass the files of one", .folder.display(), .series.len(), list(.series))]
    SeveralSeries {
        /// The folder.
        folder: PathBuf,
        /// Series UID and number of slices of each.
        series: Vec<(String, usize)>,
    },
    /// Only other modalities.
    #[error("{place}: no CT series, only modality {modality}; dasl reads CT")]
    NotCt {
        /// Folder or series.
        place: String,
        /// The modalities met.
        modality: String,
    },
    /// An attribute without which a slice cannot be placed or scaled.
    #[error("{}: {attribute} is missing or not a valid value; export this series again", .file.display())]
    Attribute {
        /// The file.
        file: PathBuf,
        /// The attribute's DICOM keyword.
        attribute: &'static str,
    },
    /// A file that is a CT image but of a kind that is not read.
    #[error("{}: {what}; {todo}", .file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// What was met.
        what: String,
        /// What to do.
        todo: &'static str,
    },
    /// Scouts alone.
    #[error(
        "{place}: only localizers (scout images), no slices; give the series that was scanned with them"
    )]
    OnlyLocalizers {
        /// Folder or series.
        place: String,
    },
    /// Two or more stacks of slices in one series, over the same places.
    #[error("series {series_uid} holds {} stacks of slices at the same positions, told apart by {attribute} ({}), such as {} and {}; keep the files of one", .values.len(), .values.join(", "), .first.display(), .second.display())]
    SeveralStacks {
        /// The series.
        series_uid: String,
        /// The attribute's DICOM keyword.
        attribute: &'static str,
        /// Its value in each stack.
        values: Vec<String>,
        /// A file of the first stack.
        first: PathBuf,
        /// A file of the second.
        second: PathBuf,
    },
    /// A volume needs at least two slices.
    #[error("series {series_uid} has a single slice ({}); give the whole series", .file.display())]
    SingleSlice {
        /// The series.
        series_uid: String,
        /// Its only file.
        file: PathBuf,
    },
    /// Two slices differ in something that must be the same in all.
    #[error("{} and {} differ in {attribute} ({first_value} and {value}); split the series", .first.display(), .file.display())]
    Differing {
        /// The first file of the series.
        first: PathBuf,
        /// The file that differs from it.
        file: PathBuf,
        /// The attribute's DICOM keyword.
        attribute: &'static str,
        /// Value in the first file.
        first_value: String,
        /// Value in the other.
        value: String,
    },
    /// Two slices at one place.
    #[error("{} and {} lie at the same position, {position_mm:.3} mm; keep one of them", .first.display(), .second.display())]
    DuplicateSlice {
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// Position along the slice normal, mm.
        position_mm: f64,
    },
    /// A gap of one or more slices.
    #[error("slices missing between {} and {}: a gap of {gap_mm:.3} mm where {spacing_mm:.3} mm is usual; find the missing files", .below.display(), .above.display())]
    MissingSlice {
        /// File below the gap.
        below: PathBuf,
        /// File above it.
        above: PathBuf,
        /// Distance of the two, mm.
        gap_mm: f64,
        /// Usual distance in the series, mm.
        spacing_mm: f64,
    },
    /// Slices that are not evenly spaced.
    #[error("uneven slice spacing between {} and {}: {gap_mm:.3} mm where {spacing_mm:.3} mm is usual; resample the series first", .below.display(), .above.display())]
    UnevenSpacing {
        /// The file below.
        below: PathBuf,
        /// The file above.
        above: PathBuf,
        /// Distance of the two, mm.
        gap_mm: f64,
        /// Usual distance in the series, mm.
        spacing_mm: f64,
    },
    /// Slices that are shifted sideways against each other.
    #[error("{} lies {offset_mm:.2} mm beside the normal through {}: a tilted gantry or a moved table; straighten the series first", .file.display(), .first.display())]
    Tilted {
        /// The lowest slice.
        first: PathBuf,
        /// The slice that is shifted.
        file: PathBuf,
        /// Sideways distance, mm.
        offset_mm: f64,
    },
    /// More pixels than rows x columns.
    #[error("{}: {found} bytes of pixel data where Rows, Columns and frames make {expected}; export this series again", .file.display())]
    ExcessPixels {
        /// The file.
        file: PathBuf,
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        expected: usize,
    },
    /// Not enough memory for the voxels.
    #[error("{}: no memory for {voxels} voxels; use a larger machine, or check Rows and Columns", .file.display())]
    Memory {
        /// A file of the series.
        file: PathBuf,
        /// Voxels that were to be held.
        voxels: usize,
    },
    /// Fewer pixels than rows x columns.
    #[error("{}: truncated pixel data ({found} bytes of {expected}); copy the file again", .file.display())]
    TruncatedPixels {
        /// The file.
        file: PathBuf,
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        expected: usize,
    },
}

fn list(series: &[(String, usize)]) -> String {
    let each: Vec<String> =
        series.iter().map(|(uid, slices)| format!("{uid} with {slices} slices")).collect();
    each.join(", ")
}

/// A file system's complaint in plain words.
pub(super) fn io_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".into(),
        _ => error.to_string(),
    }
}
