//! Smaller images, with which a network is trained in a part of the time.

use super::idx::Images;

impl Images {
    /// The mean of every square of `factor` x `factor` pixels; what is left at the lower and right edge is cut off.
    pub fn shrunk(self, factor: usize) -> Self {
        if factor == 1 {
            return self;
        }
        let (height, width) = (self.height / factor, self.width / factor);
        let mut pixels = Vec::with_capacity(self.count * height * width);
        for image in self.pixels.chunks_exact(self.height * self.width) {
            for (row, column) in (0..height).flat_map(|row| (0..width).map(move |x| (row, x))) {
                let sum: usize = (0..factor)
                    .flat_map(|y| {
                        let start = (row * factor + y) * self.width + column * factor;
                        &image[start..start + factor]
                    })
                    .map(|&pixel| usize::from(pixel))
                    .sum();
                pixels.push((sum / (factor * factor)) as u8);
            }
        }
        Self {
            pixels,
            height,
            width,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_is_the_mean_of_a_square() {
        let images = Images {
            pixels: vec![0, 4, 10, 10, 99, 8, 4, 10, 14, 99, 1, 1, 1, 1, 1],
            count: 1,
            height: 3,
            width: 5,
        };
        let shrunk = images.shrunk(2);
        assert_eq!((shrunk.height, shrunk.width), (1, 2));
        assert_eq!(shrunk.pixels, [4, 11]);
    }
}
