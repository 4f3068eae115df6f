"""What torch's contenders have in common: Adam, the training step, no gradients elsewhere."""

import contextlib

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

torch.optim.Adam(
    [torch.zeros(1)]
)  # imports much of torch when it is first used; no contender's imports are timed


class OnTorch:
    """A `torch.nn.Module` and three functions without arguments: the loss, log_prob, and a batch of samples."""

    def __init__(self, model, loss, log_prob, sample, *, precision="default"):
        self.loss, self.log_prob_of_batch, self.sample_batch = loss, log_prob, sample
        self.optimizer = torch.optim.Adam(model.parameters(), 1e-4)
        self.cast = contextlib.nullcontext
        if precision == "bfloat16":
            self.cast = lambda: torch.autocast(DEVICE, torch.bfloat16)

    def train(self, steps, lap):
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            with self.cast():
                loss = self.loss()
            loss.backward()
            self.optimizer.step()
            lap()

    def log_prob(self):
        with torch.no_grad(), self.cast():
            self.log_prob_of_batch()

    def sample(self):
        with torch.no_grad(), self.cast():
            self.sample_batch()
