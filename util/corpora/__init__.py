"""Corpora: captioned, labelled and generated inputs."""
