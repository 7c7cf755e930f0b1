//! Random shifts of training images, so that a network learns the digit and not its place.

use rand::Rng;
use rand::rngs::StdRng;

use super::{Purpose, generator};

/// The shifts of an epoch's images, in the order of its batches.
pub struct Shifts {
    max: i32,
    rng: StdRng,
}

impl Shifts {
    /// Up to `max` pixels in each direction. They follow from `seed` and `epoch` alone, as the order of an epoch does.
    pub fn new(max: usize, seed: u64, epoch: usize) -> Self {
        Self {
            max: max as i32,
            rng: generator(seed, epoch, Purpose::Shifts),
        }
    }

    /// The pixels of `image`, moved by the next shift; what moves in is black.
    pub fn shifted(&mut self, image: &[u8], width: usize) -> Vec<u8> {
        if self.max == 0 {
            return image.to_vec();
        }
        let [down, right] = [(); 2].map(|()| self.rng.random_range(-self.max..=self.max) as isize);
        shifted(image, width, down, right)
    }
}

fn shifted(image: &[u8], width: usize, down: isize, right: isize) -> Vec<u8> {
    let height = image.len() / width;
    let mut moved = vec![0; image.len()];
    for (row, target) in moved.chunks_exact_mut(width).enumerate() {
        let Some(source) = row.checked_add_signed(-down).filter(|&row| row < height) else {
            continue;
        };
        let source = &image[source * width..][..width];
        let step = right.unsigned_abs().min(width);
        let kept = width - step;
        if right >= 0 {
            target[step..].copy_from_slice(&source[..kept]);
        } else {
            target[..kept].copy_from_slice(&source[step..]);
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: [u8; 6] = [1, 2, 3, 4, 5, 6];

    #[test]
    fn black_moves_in() {
        assert_eq!(shifted(&IMAGE, 3, 0, 0), IMAGE);
        assert_eq!(shifted(&IMAGE, 3, 1, 0), [0, 0, 0, 1, 2, 3]);
        assert_eq!(shifted(&IMAGE, 3, -1, 1), [0, 4, 5, 0, 0, 0]);
        assert_eq!(shifted(&IMAGE, 3, 0, -2), [3, 0, 0, 6, 0, 0]);
        assert_eq!(shifted(&IMAGE, 3, 2, 0), [0; 6]);
        assert_eq!(shifted(&IMAGE, 3, 0, -4), [0; 6]);
    }

    #[test]
    fn every_seed_and_epoch_has_its_own_shifts() {
        let image: Vec<u8> = (0..81).collect();
        let moved = |max, seed, epoch| {
            let mut shifts = Shifts::new(max, seed, epoch);
            (0..20)
                .map(|_| shifts.shifted(&image, 9))
                .collect::<Vec<_>>()
        };
        assert_eq!(moved(2, 1, 1), moved(2, 1, 1));
        assert_ne!(moved(2, 1, 1), moved(2, 1, 2));
        assert_ne!(moved(2, 1, 1), moved(2, 2, 1));
        assert!(moved(0, 1, 1).iter().all(|moved| *moved == image));
    }
}
