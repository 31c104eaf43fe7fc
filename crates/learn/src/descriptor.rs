//! The descriptors of a pool between the two passes of Eq. (3): in memory, or beyond a limit in a
//! scratch file that vanishes with the process.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rayon::prelude::*;

use crate::density::{UnitSum, dot, norm};

/// Bytes of the scratch file that are read at once.
const BLOCK_BYTES: usize = 4 << 20;

/// Vectors of one length, stored by place in the pool.
pub struct Descriptors {
    length: usize,
    count: usize,
    store: Store,
    /// First pass over the vectors that came in the order of their places, and how many they are.
    sum: UnitSum,
    summed: usize,
}

enum Store {
    Memory(Vec<f32>),
    File(File),
}

impl Descriptors {
    /// Room for `count` vectors of `length` numbers; in `scratch_folder` if they take more than
    /// `memory_bytes`.
    ///
    /// # Errors
    /// If the scratch file can't be made.
    pub fn new(
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
        Ok(Self { length, count, store, sum: UnitSum::new(), summed: 0 })
    }

    /// Numbers in each vector.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Stores the vector of place `index`, once; it must have the right length.
    ///
    /// # Errors
    /// If the scratch file can't be written, as on a full disk.
    pub fn put(&mut self, index: usize, vector: &[f32]) -> io::Result<()> {
        if index == self.summed {
            self.sum.add(vector);
            self.summed += 1;
        }
        match &mut self.store {
            Store::Memory(all) => {
                all[index * self.length..][..self.length].copy_from_slice(vector);
                Ok(())
            }
            Store::File(file) => {
                let mut bytes = vec![0; vector.len() * 4];
                for (b, x) in bytes.chunks_exact_mut(4).zip(vector) {
                    b.copy_from_slice(&x.to_le_bytes());
                }
                file.seek(SeekFrom::Start((index * self.length * 4) as u64))?;
                file.write_all(&bytes)
            }
        }
    }

    /// Density of every vector, by place: both passes (the first is done already for vectors that
    /// came in order), each in the order of the places, so that the last bits depend neither on the
    /// order in which the vectors came nor on the number of threads.
    ///
    /// # Errors
    /// If the scratch file can't be read.
    pub fn densities(&mut self) -> io::Result<Vec<f64>> {
        let length = self.length;
        let mut sum = std::mem::take(&mut self.sum);
        self.for_each_block(self.summed, |block| sum.add_all(block, length))?;
        let mut densities = Vec::with_capacity(self.count);
        self.for_each_block(0, |block| {
            densities.par_extend(block.par_chunks(length.max(1)).map(|v| sum.density(v)));
        })?;
        (self.sum, self.summed) = (sum, self.count);
        Ok(densities)
    }

    /// Cosine similarity of the vectors of some places to all: `[place][vector]`. That of a zero
    /// vector with anything is 0.
    ///
    /// # Errors
    /// If the scratch file can't be read.
    pub fn cosines(&mut self, places: &[usize]) -> io::Result<Vec<Vec<f64>>> {
        let from: Vec<Vec<f32>> =
            places.iter().map(|&place| self.get(place)).collect::<io::Result<_>>()?;
        let norms: Vec<f64> = from.iter().map(|v| norm(v)).collect();
        let mut cosines = vec![Vec::with_capacity(self.count); places.len()];
        let length = self.length.max(1);
        self.for_each_block(0, |block| {
            let all = cosines.par_iter_mut().zip(&from).zip(&norms);
            all.for_each(|((cosines, from), own)| {
                cosines.extend(block.chunks(length).map(|v| {
                    let norms = own * norm(v);
                    if norms > 0.0 { (dot(from, v) / norms).clamp(-1.0, 1.0) } else { 0.0 }
                }));
            });
        })?;
        Ok(cosines)
    }

    fn get(&mut self, index: usize) -> io::Result<Vec<f32>> {
        match &mut self.store {
            Store::Memory(all) => Ok(all[index * self.length..][..self.length].to_vec()),
            Store::File(file) => {
                let (mut bytes, mut vector) = (vec![0; self.length * 4], vec![0.0; self.length]);
                file.seek(SeekFrom::Start((index * self.length * 4) as u64))?;
                file.read_exact(&mut bytes)?;
                decode(&bytes, &mut vector);
                Ok(vector)
            }
        }
    }

    /// Whole vectors one after the other from a place on, as many at once as a block holds.
    fn for_each_block(&mut self, from: usize, mut visit: impl FnMut(&[f32])) -> io::Result<()> {
        let length = self.length.max(1);
        let at_once = (BLOCK_BYTES / (4 * length)).max(1);
        match &mut self.store {
            Store::Memory(all) => {
                all[from * self.length..].chunks(at_once * length).for_each(visit);
            }
            Store::File(file) => {
                file.seek(SeekFrom::Start((from * self.length * 4) as u64))?;
                let mut bytes = vec![0; at_once * length * 4];
                let mut numbers = vec![0.0; at_once * length];
                let mut left = self.count - from;
                while left > 0 {
                    let n = left.min(at_once) * length;
                    file.read_exact(&mut bytes[..4 * n])?;
                    let parts = numbers[..n].par_chunks_mut(1 << 14);
                    let from = bytes[..4 * n].par_chunks(4 << 14);
                    parts.zip(from).for_each(|(to, from)| decode(from, to));
                    visit(&numbers[..n]);
                    left -= n / length;
                }
            }
        }
        Ok(())
    }
}

fn decode(bytes: &[u8], numbers: &mut [f32]) {
    for (x, b) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
        *x = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
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
        assert_eq!(densities(0, &[0, 1, 2, 5, 3, 6, 4]), in_memory);
        let mut sum = UnitSum::new();
        for v in &vectors {
            sum.add(v);
        }
        assert_eq!(in_memory[4].to_bits(), sum.density(&vectors[4]).to_bits());
    }

    fn made_up(count: usize, length: usize) -> Vec<Vec<f32>> {
        let number = |i: usize, j: usize| ((i * 7919 + j * 104_729) % 1009) as f32 / 1009.0;
        (0..count).map(|i| (0..length).map(|j| number(i, j)).collect()).collect()
    }

    fn stored(vectors: &[Vec<f32>], memory_bytes: u64) -> Descriptors {
        let folder = tempfile::tempdir().expect("a folder");
        let (count, length) = (vectors.len(), vectors[0].len());
        let mut store = Descriptors::new(count, length, memory_bytes, folder.path()).expect("room");
        for (i, vector) in vectors.iter().enumerate() {
            store.put(i, vector).expect("stored");
        }
        store
    }

    #[test]
    fn many_blocks_and_any_number_of_threads_give_the_same_bits() {
        // 90 vectors of 64 KiB: two blocks.
        let vectors = made_up(90, 1 << 14);
        let densities = |threads, memory_bytes| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| stored(&vectors, memory_bytes).densities().expect("densities"))
        };
        let one = densities(1, 0);
        assert_eq!(one.len(), 90);
        assert_eq!(densities(3, 0), one);
        assert_eq!(densities(2, u64::MAX), one);
    }

    /// As `NumPy` does it on float32: unit vectors, their products, all in single precision.
    #[test]
    fn equals_the_definition_in_single_precision() {
        let vectors = made_up(40, 500);
        let unit = |v: &Vec<f32>| {
            let norm = v.iter().map(|x| x * x).sum::<f32>().sqrt();
            v.iter().map(|x| x / norm).collect::<Vec<f32>>()
        };
        let units: Vec<Vec<f32>> = vectors.iter().map(unit).collect();
        let found = stored(&vectors, 0).densities().expect("densities");
        for (unit, found) in units.iter().zip(found) {
            let cosine = |other: &Vec<f32>| unit.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
            let expected = (units.iter().map(cosine).sum::<f32>() - 1.0) / 39.0;
            assert!((f64::from(expected) - found).abs() < 1e-5, "{expected} {found}");
        }
    }

    #[test]
    fn cosines_by_hand() {
        let vectors = [vec![2.0, 0.0], vec![3.0, 3.0], vec![-1.0, 0.0], vec![0.0, 0.0]];
        let half = 0.5_f64.sqrt();
        for memory_bytes in [0, u64::MAX] {
            let found = stored(&vectors, memory_bytes).cosines(&[0, 3]).expect("cosines");
            for (found, expected) in found[0].iter().zip([1.0, half, -1.0, 0.0]) {
                assert!((found - expected).abs() < 1e-15);
            }
            assert_eq!(found[1], [0.0; 4]);
        }
    }
}
