"""The network."""

import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.hidden = nn.Linear(64, 48)
        self.norm = nn.BatchNorm1d(48)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(48, 10)

    def forward(self, x):
        return self.out(self.dropout(F.relu(self.norm(self.hidden(x)))))
