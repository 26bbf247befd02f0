import CIoto
