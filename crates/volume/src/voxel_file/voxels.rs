//! Voxels out of a file, raw or compressed, with no more memory than the file can fill.

use super::{Encoding, Header, Layout, Start, Voxel, VoxelFileError};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use ndarray::Array3;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// DEFLATE packs at most 258 bytes into 2 bits (RFC 1951, 3.2.5).
const MOST_PER_BYTE: u64 = 1032;
/// Bytes read at a time; whole numbers of every sample type.
const CHUNK: usize = 1 << 16;

/// Reads the voxels [z, y, x] of `header` from `source`, `length` bytes long, whose header is the
/// first `from`; `file` is its name.
///
/// # Errors
/// If there are fewer voxels than the header says, the stream is damaged or a value no voxel.
pub(crate) fn read<T: Voxel>(
    source: &mut (impl Read + Seek),
    length: u64,
    from: u64,
    header: &Header,
    file: &Path,
) -> Result<Array3<T>, VoxelFileError> {
    let shape = header.geometry.shape;
    let layout = &header.layout;
    let voxels: usize = shape.iter().product();
    let expected = voxels as u64 * layout.sample.bytes() as u64;
    let failed = |error: io::Error| VoxelFileError::read(file, &error);
    let truncated = |found: u64, expected: u64| VoxelFileError::Truncated {
        file: file.into(),
        found,
        expected,
    };

    let mut source = BufReader::new(source);
    source.seek(SeekFrom::Start(from)).map_err(failed)?;
    let mut at = from;
    for _ in 0..layout.line_skip {
        match source.skip_until(b'\n').map_err(failed)? {
            0 => return Err(truncated(0, expected)),
            bytes => at += bytes as u64,
        }
    }
    let skip = if let Start::After(bytes) = layout.start { bytes } else { 0 };
    at = at.saturating_add(skip);
    let stored = length.saturating_sub(at);

    let mut out = Vec::new();
    match layout.encoding {
        Encoding::Raw => {
            if stored < expected {
                return Err(truncated(stored, expected));
            }
            if layout.start == Start::AtEnd {
                at = length - expected;
            }
            source.seek(SeekFrom::Start(at)).map_err(failed)?;
            let memory = |_| VoxelFileError::Memory { file: file.into(), voxels };
            out.try_reserve_exact(voxels).map_err(memory)?;
            decode(&mut source.take(expected), layout, shape, file, &mut out)?;
        }
        Encoding::Deflate { skip, length } => {
            let stated = length.unwrap_or(stored);
            if stored < stated {
                return Err(truncated(stored, stated));
            }
            let all = expected.saturating_add(skip);
            if all > stated.saturating_mul(MOST_PER_BYTE) {
                let file = file.to_path_buf();
                return Err(VoxelFileError::Overpromised { file, stored: stated, expected: all });
            }
            source.seek(SeekFrom::Start(at)).map_err(failed)?;
            let mut packed = source.take(stated);
            // MetaIO and teem unpack either, whatever the header says.
            let gzip = packed.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
            let mut stream: Box<dyn Read + '_> = if gzip {
                Box::new(MultiGzDecoder::new(packed))
            } else {
                Box::new(ZlibDecoder::new(packed))
            };
            let damaged = |error: io::Error| VoxelFileError::Damaged {
                file: file.into(),
                reason: error.to_string(),
            };
            let skipped = io::copy(&mut (&mut stream).take(skip), &mut io::sink());
            let skipped = skipped.map_err(damaged)?;
            if skipped < skip {
                return Err(truncated(skipped, all));
            }
            decode(&mut (&mut stream).take(expected), layout, shape, file, &mut out)?;
            // The stream's checksum is compared where it ends.
            io::copy(&mut (&mut stream).take(1), &mut io::sink()).map_err(damaged)?;
        }
    }
    Array3::from_shape_vec(shape, out)
        .map_err(|error| VoxelFileError::Read { file: file.into(), reason: error.to_string() })
}

/// Appends all voxels of `shape`.
fn decode<T: Voxel>(
    source: &mut impl Read,
    layout: &Layout,
    shape: [usize; 3],
    file: &Path,
    out: &mut Vec<T>,
) -> Result<(), VoxelFileError> {
    let voxels: usize = shape.iter().product();
    let sample = layout.sample;
    let packed = layout.encoding != Encoding::Raw;
    let failed = |error: &io::Error| {
        if packed {
            VoxelFileError::Damaged { file: file.into(), reason: error.to_string() }
        } else {
            VoxelFileError::read(file, error)
        }
    };
    let mut chunk = vec![0; CHUNK];
    while out.len() < voxels {
        let wanted = CHUNK.min((voxels - out.len()) * sample.bytes());
        let filled = fill(source, &mut chunk[..wanted]).map_err(|error| failed(&error))?;
        let memory = |_| VoxelFileError::Memory { file: file.into(), voxels };
        out.try_reserve(filled / sample.bytes()).map_err(memory)?;
        sample.append(layout.big_endian, layout.scale, &chunk[..filled], out).map_err(|value| {
            let (row, x) = (out.len() / shape[2], out.len() % shape[2]);
            T::refused(file, value, [row / shape[1], row % shape[1], x])
        })?;
        if filled < wanted {
            let found = out.len() as u64 * sample.bytes() as u64;
            let expected = voxels as u64 * sample.bytes() as u64;
            return Err(VoxelFileError::Truncated { file: file.into(), found, expected });
        }
    }
    Ok(())
}

/// Reads until `to` is full or the source at its end; how many bytes that were.
fn fill(source: &mut impl Read, to: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < to.len() {
        match source.read(&mut to[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
