//! Progress bars with the time left, on standard error and in a terminal only.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total` steps, named after the work.
pub fn bar(name: &str, total: u64) -> ProgressBar {
    let template = "{prefix:>12} {bar:24} {pos}/{len} [{elapsed} < {eta}] {wide_msg}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style).with_prefix(name.to_string())
}
