//! Images of a series that are no slices of its stack, and slices that are there twice.

use super::error::DicomError;
use super::pixels::same_pixels;
use super::slice::{SliceHeader, dot};
use super::stack::Stack;
use std::collections::BTreeMap;

/// The slices without the copies among them (the same `SOPInstanceUID` at the same place), of
/// which the first file is kept; two files that claim to be the same slice and have other pixels
/// are refused.
pub(super) fn without_copies(
    slices: Vec<SliceHeader>,
    notes: &mut Vec<String>,
) -> Result<Vec<SliceHeader>, DicomError> {
    let mut kept: Vec<SliceHeader> = Vec::with_capacity(slices.len());
    // Indices into `kept`.
    let mut known: BTreeMap<(String, usize), Vec<usize>> = BTreeMap::new();
    let mut copies = Vec::new();
    for slice in slices {
        let same_uid = known.entry((slice.sop_uid.clone(), slice.frame)).or_default();
        let Some(original) = same_uid.iter().map(|i| &kept[*i]).find(|s| slice.is_copy_of(s))
        else {
            same_uid.push(kept.len());
            kept.push(slice);
            continue;
        };
        if !same_pixels(original, &slice)? {
            let normal = original.normal();
            return Err(DicomError::DuplicateSlice {
                first: original.file.clone(),
                second: slice.file.clone(),
                position_mm: dot(original.position_mm, normal),
            });
        }
        copies.push((slice.file.clone(), original.file.clone()));
    }
    if let Some((copy, original)) = copies.first() {
        let more = match copies.len() - 1 {
            0 => String::new(),
            more => format!(", and so for {more} more files"),
        };
        notes.push(format!("{}: a copy of {}, left out{more}", copy.display(), original.display()));
    }
    Ok(kept)
}

/// The stack, once single images of another size or orientation are taken away: a scout that does
/// not say so, a picture. They may be a quarter of the slices at most.
pub(super) fn stack_without_odd_ones(
    series_uid: &str,
    slices: Vec<SliceHeader>,
    notes: &mut Vec<String>,
) -> Result<Stack, DicomError> {
    let odd = odd_ones(&slices);
    if odd.is_empty() {
        return Stack::new(series_uid, slices);
    }
    let is_odd = |slice: &SliceHeader| odd.iter().any(|(one, _)| one.is_same_file_frame(slice));
    let rest: Vec<SliceHeader> = slices.iter().filter(|s| !is_odd(s)).cloned().collect();
    let stack = match Stack::new(series_uid, rest) {
        Ok(stack) => stack,
        // An image of another size among the slices may be one of them; then that is the reason.
        Err(_) if odd.iter().any(|(_, what)| *what == SIZE) => {
            return Stack::new(series_uid, slices);
        }
        Err(error) => return Err(error),
    };
    for (slice, what) in odd {
        notes.push(format!("{}: a single image of another {what}, left out", slice.file.display()));
    }
    Ok(stack)
}

const SIZE: &str = "size";
const ORIENTATION: &str = "orientation";

/// The images that are alone with their size and orientation, if nearly all others agree, each
/// with what is different.
fn odd_ones(slices: &[SliceHeader]) -> Vec<(SliceHeader, &'static str)> {
    let mut alike: Vec<Vec<&SliceHeader>> = Vec::new();
    for slice in slices {
        match alike.iter_mut().find(|group| difference(group[0], slice).is_none()) {
            Some(group) => group.push(slice),
            None => alike.push(vec![slice]),
        }
    }
    let Some(stack) = alike.iter().max_by_key(|group| group.len()) else {
        return Vec::new();
    };
    let others = slices.len() - stack.len();
    let are_single = alike.len() == others + 1;
    if !are_single || 4 * others > stack.len() {
        return Vec::new();
    }
    let odd = slices
        .iter()
        .filter_map(|slice| difference(stack[0], slice).map(|what| (slice.clone(), what)));
    odd.collect()
}

/// In what two images differ that cannot differ within a stack.
fn difference(a: &SliceHeader, b: &SliceHeader) -> Option<&'static str> {
    let is_close = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-3);
    if !is_close(a.along_row, b.along_row) || !is_close(a.along_column, b.along_column) {
        Some(ORIENTATION)
    } else if (a.rows, a.columns) != (b.rows, b.columns) {
        Some(SIZE)
    } else {
        None
    }
}
