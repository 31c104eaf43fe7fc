//! Reads a CT series and writes what was read, for comparison with another reader
//! (`oracle/check_dicom.py`): `dicom_dump FOLDER OUT.raw` writes the Hounsfield units (int16, little
//! endian, [z, y, x]) and prints geometry, files and notes as JSON.

use dasl_volume::dicom::read_folder;
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(folder), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: dicom_dump FOLDER OUT.raw".into());
    };
    let scan = read_folder(&folder)?;
    let bytes: Vec<u8> = scan.volume.voxels.iter().flat_map(|hu| hu.to_le_bytes()).collect();
    dasl_volume::write_atomic(&out, |file| file.write_all(&bytes))?;
    let answer = serde_json::json!({
        "geometry": scan.volume.geometry,
        "series_uid": scan.series_uid,
        "source": scan.source,
        "notes": scan.notes,
    });
    println!("{answer}");
    Ok(())
}
