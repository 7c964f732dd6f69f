"""The functions of :mod:`epochal.image`."""

from epochal.image.peak import peak_signal_noise_ratio
from epochal.image.structure import multiscale_structural_similarity_index_measure, structural_similarity_index_measure
from epochal.paths import answer_to

__all__ = ["multiscale_structural_similarity_index_measure", "peak_signal_noise_ratio", "structural_similarity_index_measure"]

answer_to(__name__, "psnr ssim")
