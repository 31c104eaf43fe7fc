//! A folder of ready nodule volumes: each nodule's box cut out of its scan, with the readers'
//! 50 % consensus.
//!
//! The folder holds `index.csv` (one row per volume), `consensus50_masks.npz` (one mask per
//! volume, [x, y, z]) and `image/NAME.nii.gz` (HU); `image/` may also lie in a subfolder `voi/`.

use crate::LidcError;
use dasl_volume::{CtVolume, LabelVolume, nifti};
use ndarray::Array3;
use ndarray_npy::NpzReader;
use serde::Deserialize;
use std::fs::File;
use std::path::{Path, PathBuf};

const INDEX: &str = "index.csv";
const MASKS: &str = "consensus50_masks.npz";
const PACKED: &str = "voi.tar.xz";

/// What a folder of nodule volumes holds.
#[derive(Debug, Clone, PartialEq)]
pub struct VoiIndex {
    /// Volumes with a mask, by name.
    pub entries: Vec<VoiEntry>,
    /// Volumes without, by name: (name, why).
    pub set_aside: Vec<(String, String)>,
    masks: PathBuf,
    images: PathBuf,
}

/// One row of the index.
#[derive(Debug, Clone, PartialEq)]
pub struct VoiEntry {
    /// Name: `<patient>_R_<nodule>`.
    pub name: String,
    /// Patient, as named by the collection; patients are what is split, not nodules.
    pub patient_id: String,
    /// Series that the volume was cut out of.
    pub series_uid: String,
    /// Outlines in the nodule's cluster.
    pub readers: usize,
    /// Malignancy as rated, one per outline.
    pub malignancy: Vec<u8>,
    /// Texture as rated, one per outline.
    pub texture: Vec<u8>,
    /// First voxel of the volume on the scan's grid, [z, y, x].
    pub start: [usize; 3],
    /// Voxels of the consensus.
    pub voxels: usize,
}

/// One nodule volume.
#[derive(Debug, Clone, PartialEq)]
pub struct Voi {
    /// Name: `<patient>_R_<nodule>`.
    pub name: String,
    /// Patient, as named by the collection.
    pub patient_id: String,
    /// Series that the volume was cut out of.
    pub series_uid: String,
    /// Outlines in the nodule's cluster.
    pub readers: usize,
    /// Malignancy as rated, one per outline.
    pub malignancy: Vec<u8>,
    /// Texture as rated, one per outline.
    pub texture: Vec<u8>,
    /// Hounsfield units, [z, y, x].
    pub ct: CtVolume,
    /// Label 1 where at least half of the readers who outlined the nodule marked it, [z, y, x].
    pub mask: LabelVolume,
}

/// A row as it stands in the file; numbers are written as floats, and empty without a match.
#[derive(Deserialize)]
struct Row {
    name: String,
    matched: u8,
    readers: Option<f64>,
    row0: Option<f64>,
    col0: Option<f64>,
    slice0: Option<f64>,
    vox50: Option<f64>,
    malignancy: String,
    texture: String,
    series_uid: String,
}

/// Lists the volumes of a folder.
///
/// # Errors
/// If the index, the masks or the images are missing (with the command that unpacks them, where
/// they are still packed), or a row of the index cannot be understood.
pub fn list(folder: &Path) -> Result<VoiIndex, LidcError> {
    let (index, masks) = (folder.join(INDEX), folder.join(MASKS));
    for file in [&index, &masks] {
        if !file.is_file() {
            let what = format!("not found; the folder must hold {INDEX}, {MASKS} and image/");
            return Err(LidcError::Voi { file: file.clone(), what });
        }
    }
    let images = images_of(folder)?;
    let bad = |what: String| LidcError::Voi { file: index.clone(), what };
    let mut csv = csv::Reader::from_path(&index).map_err(|e| bad(e.to_string()))?;
    let (mut entries, mut set_aside) = (Vec::new(), Vec::new());
    for row in csv.deserialize() {
        let row: Row = row.map_err(|e| bad(e.to_string()))?;
        if row.matched == 0 {
            let why = "the index has matched = 0: no consensus mask".to_owned();
            set_aside.push((row.name, why));
            continue;
        }
        entries.push(VoiEntry::of(row).map_err(bad)?);
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    set_aside.sort();
    Ok(VoiIndex { entries, set_aside, masks, images })
}

/// The folder of the images, unpacked.
fn images_of(folder: &Path) -> Result<PathBuf, LidcError> {
    let places = [folder.join("image"), folder.join("voi").join("image")];
    if let Some(found) = places.iter().find(|p| p.is_dir()) {
        return Ok(found.clone());
    }
    let what = if folder.join(PACKED).is_file() {
        format!(
            "the images are still packed; unpack them with `tar xJf {PACKED}` in this folder, \
             or in a copy of it where this one can't be written to"
        )
    } else {
        "no folder image/ or voi/image/ with NAME.nii.gz".to_owned()
    };
    Err(LidcError::Voi { file: folder.to_owned(), what })
}

impl VoiEntry {
    fn of(row: Row) -> Result<Self, String> {
        let name = row.name;
        let count = |value: Option<f64>, column: &str| match value {
            Some(v) if v >= 0.0 && v.fract() == 0.0 => Ok(v as usize),
            Some(v) => Err(format!("{name}: {column} is {v}, must be a whole number")),
            None => Err(format!("{name}: {column} is empty, though matched = 1")),
        };
        let ratings = |text: &str, column: &str| {
            let number = |t: &str| t.trim().parse::<u8>();
            text.split(';')
                .map(number)
                .collect::<Result<Vec<u8>, _>>()
                .map_err(|_| format!("{name}: {column} is {text:?}, must be like 4;4;3"))
        };
        let patient_id = name
            .rsplit_once("_R_")
            .map(|(patient, _)| patient.to_owned())
            .ok_or_else(|| format!("{name}: the name must be <patient>_R_<nodule>"))?;
        Ok(Self {
            patient_id,
            series_uid: row.series_uid,
            readers: count(row.readers, "readers")?,
            malignancy: ratings(&row.malignancy, "malignancy")?,
            texture: ratings(&row.texture, "texture")?,
            start: [
                count(row.slice0, "slice0")?,
                count(row.row0, "row0")?,
                count(row.col0, "col0")?,
            ],
            voxels: count(row.vox50, "vox50")?,
            name,
        })
    }
}

/// Reads volume `i` of `index.entries`.
///
/// # Errors
/// If `i` is past the end, the image or the mask cannot be read, their shapes differ, or the
/// mask has another number of voxels than the index says.
pub fn read(index: &VoiIndex, i: usize) -> Result<Voi, LidcError> {
    let entry = index.entries.get(i).ok_or_else(|| LidcError::Voi {
        file: index.images.clone(),
        what: format!("there is no volume {i}, the index has {}", index.entries.len()),
    })?;
    let image = index.images.join(format!("{}.nii.gz", entry.name));
    let ct = nifti::read_ct(&image)
        .map_err(|e| LidcError::VoiImage { file: image, source: Box::new(e) })?;
    let mask = index.mask(entry, ct.geometry.shape)?;
    Ok(Voi {
        name: entry.name.clone(),
        patient_id: entry.patient_id.clone(),
        series_uid: entry.series_uid.clone(),
        readers: entry.readers,
        malignancy: entry.malignancy.clone(),
        texture: entry.texture.clone(),
        mask: LabelVolume::new(mask, ct.geometry),
        ct,
    })
}

impl VoiIndex {
    /// The consensus of a volume as [z, y, x], 0 or 1.
    fn mask(&self, entry: &VoiEntry, shape: [usize; 3]) -> Result<Array3<u16>, LidcError> {
        let bad = |what: String| LidcError::Voi {
            file: self.masks.clone(),
            what: format!("{}: {what}", entry.name),
        };
        let file = File::open(&self.masks)
            .map_err(|source| LidcError::Read { file: self.masks.clone(), source })?;
        let mut npz = NpzReader::new(file).map_err(|e| bad(e.to_string()))?;
        let xyz: Array3<u8> = npz.by_name(&entry.name).map_err(|e| bad(e.to_string()))?;
        let mask = xyz.reversed_axes();
        if mask.shape() != shape {
            return Err(bad(format!(
                "the mask has {:?} voxels [z, y, x], the image {shape:?}: they do not belong \
                 together; download the folder again",
                mask.shape()
            )));
        }
        let voxels = mask.iter().filter(|&&v| v != 0).count();
        if voxels != entry.voxels {
            return Err(bad(format!(
                "the mask has {voxels} voxels, the index says {}; download the folder again",
                entry.voxels
            )));
        }
        // A fresh array, since reversed_axes leaves the memory in [x, y, z] order.
        Ok(Array3::from_shape_fn(shape, |at| u16::from(mask[at] != 0)))
    }
}
