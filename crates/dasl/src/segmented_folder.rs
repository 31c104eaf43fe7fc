//! What a folder is known by that `dasl segment` wrote for a scan.

use std::path::Path;

/// The instance label map.
pub const LABELS: &str = "nodules.nii.gz";
/// What scan it is about; written last, so that a folder with it is whole.
pub const SCAN: &str = "scan.json";

/// Whether a file is the label map of such a folder, which is no scan.
pub fn is_label_map(file: &Path) -> bool {
    file.ends_with(LABELS) && file.with_file_name(SCAN).is_file()
}
