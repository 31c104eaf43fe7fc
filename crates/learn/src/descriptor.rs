//! The descriptors of a pool between the two passes of Eq. (3): in memory, or beyond a limit in a
//! scratch file that vanishes with the process.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::density::UnitSum;

/// Vectors of one length, stored by place in the pool.
pub(crate) struct Descriptors {
    length: usize,
    count: usize,
    store: Store,
}

enum Store {
    Memory(Vec<f32>),
    File(File),
}

impl Descriptors {
    /// Room for `count` vectors of `length` numbers; in `scratch_folder` if they take more than
    /// `memory_bytes`.
    pub(crate) fn new(
        count: usize,
        length: usize,
        memory_bytes: u64,
        scratch_folder: &Path,
    ) -> io::Result<Self> {
        let bytes = (count as u64).saturating_mul(length as u64).saturating_mul(4);
        let store = if bytes <= memory_bytes {
            Store::Memory(vec![0.0; count * length])
        } else {
            let file = tempfile::tempfile_in(scratch_folder)?;
            file.set_len(bytes)?;
            Store::File(file)
        };
        Ok(Self { length, count, store })
    }

    /// Numbers in each vector.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Stores the vector of place `index`; it must have the right length.
    pub(crate) fn put(&mut self, index: usize, vector: &[f32]) -> io::Result<()> {
        match &mut self.store {
            Store::Memory(all) => {
                all[index * self.length..][..self.length].copy_from_slice(vector);
                Ok(())
            }
            Store::File(file) => {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                file.seek(SeekFrom::Start((index * self.length * 4) as u64))?;
                file.write_all(&bytes)
            }
        }
    }

    /// Density of every vector, by place: both passes, each in the order of the places, so that
    /// the last bits don't depend on the order in which the vectors came.
    pub(crate) fn densities(&mut self) -> io::Result<Vec<f64>> {
        let mut sum = UnitSum::new();
        self.for_each(|vector| sum.add(vector))?;
        let mut densities = Vec::with_capacity(self.count);
        self.for_each(|vector| densities.push(sum.density(vector)))?;
        Ok(densities)
    }

    fn for_each(&mut self, mut visit: impl FnMut(&[f32])) -> io::Result<()> {
        match &mut self.store {
            Store::Memory(all) => all.chunks(self.length.max(1)).for_each(visit),
            Store::File(file) => {
                file.seek(SeekFrom::Start(0))?;
                let mut reader = BufReader::with_capacity(1 << 20, file);
                let mut bytes = vec![0; self.length * 4];
                let mut vector = vec![0.0; self.length];
                for _ in 0..self.count {
                    reader.read_exact(&mut bytes)?;
                    for (x, b) in vector.iter_mut().zip(bytes.chunks_exact(4)) {
                        *x = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                    }
                    visit(&vector);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_file_in_any_order_give_the_same_bits() {
        let folder = tempfile::tempdir().expect("a folder");
        let vectors: Vec<Vec<f32>> =
            (0..7_u8).map(|i| (0..5_u8).map(|j| f32::from(i * j + 1).sin()).collect()).collect();
        let densities = |memory_bytes, order: &[usize]| {
            let mut store = Descriptors::new(7, 5, memory_bytes, folder.path()).expect("room");
            assert_eq!(matches!(store.store, Store::File(_)), memory_bytes < 140);
            for &i in order {
                store.put(i, &vectors[i]).expect("stored");
            }
            store.densities().expect("densities")
        };
        let in_memory = densities(140, &[0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(densities(139, &[6, 3, 0, 1, 5, 4, 2]), in_memory);
        assert_eq!(densities(1000, &[3, 6, 5, 4, 2, 1, 0]), in_memory);
        let mut sum = UnitSum::new();
        for v in &vectors {
            sum.add(v);
        }
        assert_eq!(in_memory[4].to_bits(), sum.density(&vectors[4]).to_bits());
    }
}
