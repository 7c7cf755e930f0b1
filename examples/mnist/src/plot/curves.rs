//! Curves over the epochs.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use serde::Serialize;

use super::canvas::{FONT, Picture, Surface, px};
use super::legend::{draw_legend, line_sample};
use super::palette::class_colour;

const SIZE: (u32, u32) = (960, 360);

/// Curves of one kind: what they show, and the curves.
#[derive(Serialize)]
pub struct Curves {
    pub title: &'static str,
    pub series: Vec<Series>,
}

/// One curve: its name and its value after each epoch, from the first on.
#[derive(Serialize)]
pub struct Series {
    pub name: String,
    pub values: Vec<f64>,
}

/// Draws both, the first to the left. Legends are where falling curves leave room for the first, rising ones for the
/// second.
pub fn curves(kinds: &[Curves; 2]) -> Result<Picture> {
    Picture::draw(SIZE.0, SIZE.1, |surface| {
        let panels = surface.split_evenly((1, 2));
        let corners = [
            SeriesLabelPosition::UpperRight,
            SeriesLabelPosition::LowerRight,
        ];
        for ((curves, surface), corner) in kinds.iter().zip(&panels).zip(corners) {
            panel(surface, curves, corner).map_err(|error| anyhow!("{error}"))?;
        }
        Ok(())
    })
}

fn panel<'a>(
    surface: &'a Surface<'_>,
    Curves { title, series }: &Curves,
    legend: SeriesLabelPosition,
) -> Result<(), Box<dyn std::error::Error + 'a>> {
    let values = || series.iter().flat_map(|series| &series.values).copied();
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    if !(low.is_finite() && high.is_finite()) {
        return Ok(());
    }
    let margin = ((high - low) * 0.08).max(1e-3);
    let epochs = series.iter().map(|series| series.values.len()).max();
    let last = epochs.unwrap_or(1) as f64;
    let grey = RGBColor(0x66, 0x66, 0x66);
    let text = |size: u32| (FONT, px(size)).into_font().color(&grey);

    let mut chart = ChartBuilder::on(surface)
        .caption(
            title,
            (FONT, px(15))
                .into_font()
                .color(&RGBColor(0x22, 0x22, 0x22)),
        )
        .margin(px(10))
        .x_label_area_size(px(36))
        .y_label_area_size(px(52))
        .build_cartesian_2d(0.5..last + 0.5, low - margin..high + margin)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .x_labels((last as usize).min(10))
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(0xe8, 0xe8, 0xe8).stroke_width(px(1)))
        .axis_style(RGBColor(0xaa, 0xaa, 0xaa).stroke_width(px(1)))
        .label_style(text(12))
        .axis_desc_style(text(12))
        .draw()?;
    for (index, Series { name, values }) in series.iter().enumerate() {
        let colour = class_colour(index);
        let points = || {
            values
                .iter()
                .enumerate()
                .map(|(index, &value)| ((index + 1) as f64, value))
        };
        chart
            .draw_series(LineSeries::new(points(), colour.stroke_width(px(2))))?
            .label(name)
            .legend(move |place| line_sample(place, colour.stroke_width(px(2))));
        chart.draw_series(points().map(|point| Circle::new(point, px(3), colour.filled())))?;
    }
    Ok(draw_legend(&mut chart, legend)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_of_no_one_and_several_epochs_can_be_drawn() {
        for values in [vec![], vec![0.5], vec![0.9, 0.4, 0.2]] {
            let kind = |title| Curves {
                title,
                series: vec![Series {
                    name: "train".to_owned(),
                    values: values.clone(),
                }],
            };
            curves(&[kind("loss"), kind("accuracy")]).unwrap();
        }
    }
}
