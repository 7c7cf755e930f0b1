//! Pictures: drawn with plotters at twice their size, so that the edges come out smooth, with a font of their own.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Once;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

/// The registered font.
pub const FONT: &str = "sans-serif";
/// How much larger a picture is drawn than it is saved, along each side.
const OVERSAMPLING: u32 = 2;
const CHANNELS: usize = 3;

/// The surface that a picture is drawn on.
pub type Surface<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// An RGB picture.
pub struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

/// Lengths given in pixels of the finished picture.
pub fn px(length: u32) -> u32 {
    length * OVERSAMPLING
}

impl Picture {
    /// A white picture with what `draw` puts on it.
    pub fn draw(
        width: u32,
        height: u32,
        draw: impl FnOnce(&Surface<'_>) -> Result<()>,
    ) -> Result<Self> {
        register_font();
        let (wide, high) = (px(width), px(height));
        let mut large = vec![0; (wide * high) as usize * CHANNELS];
        {
            let surface = BitMapBackend::with_buffer(&mut large, (wide, high)).into_drawing_area();
            surface.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
            draw(&surface)?;
            surface.present().map_err(|error| anyhow!("{error}"))?;
        }
        Ok(Self {
            width,
            height,
            pixels: shrunk(&large, wide as usize, OVERSAMPLING as usize),
        })
    }

    /// The values of a part of the picture, from its corner on.
    #[cfg(test)]
    pub fn part(&self, (left, top): (usize, usize), (width, height): (usize, usize)) -> Vec<u8> {
        let rows = self.pixels.chunks_exact(self.width as usize * CHANNELS);
        rows.skip(top)
            .take(height)
            .flat_map(|row| &row[left * CHANNELS..][..width * CHANNELS])
            .copied()
            .collect()
    }

    pub fn save_png(&self, path: &Path) -> Result<()> {
        let save = || -> Result<()> {
            let mut encoder =
                png::Encoder::new(BufWriter::new(File::create(path)?), self.width, self.height);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            encoder.set_compression(png::Compression::High);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&self.pixels)?;
            Ok(writer.finish()?)
        };
        save().with_context(|| format!("{}: cannot be written", path.display()))
    }
}

/// Shows `pictures` of one size one after the other, the last one longest, over and over.
pub fn save_gif(pictures: &[Picture], path: &Path) -> Result<()> {
    /// In hundredths of a second.
    const DELAY: u16 = 60;
    const LAST_DELAY: u16 = 240;
    /// Of the choice of a frame's colours: 1 is best and slowest, 30 fastest.
    const SPEED: i32 = 10;

    let Some(first) = pictures.first() else {
        return Ok(());
    };
    let save = || -> Result<()> {
        let (width, height) = (u16::try_from(first.width)?, u16::try_from(first.height)?);
        let file = BufWriter::new(File::create(path)?);
        let mut encoder = gif::Encoder::new(file, width, height, &[])?;
        encoder.set_repeat(gif::Repeat::Infinite)?;
        for (index, picture) in pictures.iter().enumerate() {
            let mut frame = gif::Frame::from_rgb_speed(width, height, &picture.pixels, SPEED);
            frame.delay = match index + 1 == pictures.len() {
                true => LAST_DELAY,
                false => DELAY,
            };
            encoder.write_frame(&frame)?;
        }
        Ok(())
    };
    save().with_context(|| format!("{}: cannot be written", path.display()))
}

/// The mean of every square of `factor` x `factor` pixels.
fn shrunk(pixels: &[u8], width: usize, factor: usize) -> Vec<u8> {
    let row_len = width * CHANNELS;
    let height = pixels.len() / row_len;
    let mut small = Vec::with_capacity(pixels.len() / (factor * factor));
    for y in (0..height).step_by(factor) {
        for x in (0..width).step_by(factor) {
            for channel in 0..CHANNELS {
                let sum: usize = (0..factor * factor)
                    .map(|cell| {
                        let (row, column) = (y + cell / factor, x + cell % factor);
                        usize::from(pixels[row * row_len + column * CHANNELS + channel])
                    })
                    .sum();
                small.push((sum / (factor * factor)) as u8);
            }
        }
    }
    small
}

fn register_font() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        let font = epaint_default_fonts::HACK_REGULAR;
        // The error carries nothing: it says that the bytes are no font.
        assert!(
            plotters::style::register_font(FONT, FontStyle::Normal, font).is_ok(),
            "the compiled-in font is a font"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_takes_the_mean_of_each_channel() {
        let pixels = [
            0, 10, 20, 4, 10, 20, // first row
            0, 30, 20, 8, 30, 20,
        ];
        assert_eq!(shrunk(&pixels, 2, 2), [3, 20, 20]);
    }

    #[test]
    fn text_needs_no_font_of_the_system() {
        let picture = Picture::draw(40, 20, |surface| {
            let style = (FONT, px(16)).into_font().color(&BLACK);
            surface
                .draw(&Text::new("48", (0, 0), style))
                .map_err(|error| anyhow!("{error}"))
        });
        let dark = picture.unwrap().pixels.iter().filter(|&&p| p < 64).count();
        assert!(dark > 30, "{dark} dark values");
    }
}
